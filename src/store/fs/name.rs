//! Converts a [`BlobKey`] to file names, and back.
//!
//! The names of files and directories in a directory are disjoint: a file name contains a dot, a directory name does
//! not, and a suffix, the mark, is added to names that break this rule. A file `a` and files beneath `a` therefore
//! never compete for a name, and that is known without disk access.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// The maximum length of a file name made of a segment, in bytes and without its mark.
///
/// A file name may have 255 bytes; the rest is for the mark, the dot and the `.json` of a sidecar.
const MAX_NAME_LEN: usize = 240;

/// The maximum length of a path below the root, in bytes: that of the sidecar.
///
/// With the [longest root](MAX_ROOT_LEN), 512 of the 4096 bytes of a path remain for the directory of a backup.
const MAX_PATH_LEN: usize = 2560;

/// The maximum length of the absolute path of a root, in bytes.
pub(super) const MAX_ROOT_LEN: usize = 1024;

/// The directory that a file system has at its top, readable by root only.
const LOST_AND_FOUND: &str = "lost+found";

/// The kind of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

impl Kind {
    /// Returns the suffix that makes `name` a name of this kind.
    ///
    /// A `%` in a name is followed by two hexadecimal digits or by nothing, so no unmarked name ends with a mark.
    fn mark(self, name: &str) -> &'static str {
        match (self, name.contains('.')) {
            (Self::File, false) => "%file",
            (Self::Directory, true) => "%dir",
            _ => "",
        }
    }
}

/// The path of the file of a key, below the root.
pub(super) struct KeyPath<'a> {
    pub(super) key: &'a BlobKey,
    /// The names of the directories, outermost first.
    pub(super) dirs: Vec<Cow<'a, str>>,
    /// The name of the file in the last directory.
    pub(super) file: Cow<'a, str>,
}

impl<'a> KeyPath<'a> {
    pub(super) fn of(key: &'a BlobKey) -> Self {
        let mut dirs = names(key, Kind::File);
        // A key has a segment, and a segment has a name.
        let file = dirs.pop().unwrap_or(Cow::Borrowed("%"));
        Self { key, dirs, file }
    }

    /// Returns the number of names in the path, which is the position of the file's own name.
    pub(super) fn len(&self) -> usize {
        self.dirs.len() + 1
    }

    /// Returns the name of the sidecar.
    pub(super) fn sidecar(&self) -> String {
        sidecar(&self.file)
    }

    /// Returns the path from the root to the file `name` in the same directory.
    pub(super) fn relative(&self, name: &str) -> String {
        let mut path = joined(&self.dirs);
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
        path
    }

    /// Returns [`ErrorKind::InvalidKey`] if the path is longer than every tool supports.
    pub(super) fn check(&self) -> Result<()> {
        let len = self.relative(&self.sidecar()).len();
        if len > MAX_PATH_LEN {
            let message = format!(
                "the name is too long for the storage's file system: its path has {len} bytes of at most \
                 {MAX_PATH_LEN}, where `%` and `/` in a name count as three; shorten the path or the file name"
            );
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(())
    }
}

/// Joins the names to a path.
pub(super) fn joined(names: &[Cow<'_, str>]) -> String {
    let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
    for name in names {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
    }
    path
}

/// Returns the name of the sidecar of the file `name`.
pub(super) fn sidecar(name: &str) -> String {
    format!(".{name}.json")
}

/// Returns the directories of the files beneath `prefix`, outermost first.
pub(super) fn directories(prefix: &BlobKey) -> Vec<Cow<'_, str>> {
    names(prefix, Kind::Directory)
}

/// Returns the names of all segments of `key`, the last of them of this `kind`.
fn names(key: &BlobKey, kind: Kind) -> Vec<Cow<'_, str>> {
    let count = key.segments().len();
    let mut names = Vec::with_capacity(count);
    for (position, segment) in key.segments().enumerate() {
        let kind = if position + 1 == count { kind } else { Kind::Directory };
        if is_plain(segment) && kind.mark(segment).is_empty() {
            names.push(Cow::Borrowed(segment));
        } else {
            names.extend(encode(segment, kind).into_iter().map(Cow::Owned));
        }
    }
    names
}

/// Returns `true` if a segment is its own file name, apart from the mark, as almost all are.
fn is_plain(segment: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&segment.len())
        && !segment.starts_with('.')
        && !segment.bytes().any(|byte| matches!(byte, b'%' | b'/'))
        && segment != LOST_AND_FOUND
}

/// Returns the file names of a segment: one, or several nested ones if it is too long. The last is of this `kind`.
///
/// Only `%`, `/` and a leading `.` are percent-encoded, so a `%` is followed by two digits, or begins a
/// mark, or is the last byte of a directory's name whose segment continues in the next name. The `l` of `lost+found` is
/// also encoded. No two lists of segments have the same names.
fn encode(segment: &str, kind: Kind) -> Vec<String> {
    let mut names = Vec::with_capacity(1);
    let mut name = String::with_capacity(segment.len());
    let mut utf8 = [0; 4];
    let mut rest = segment.chars().peekable();
    while let Some(char) = rest.next() {
        let plain = &*char.encode_utf8(&mut utf8);
        let encoded = |first: bool| match char {
            '%' => "%25",
            '/' => "%2F",
            // Names with a leading dot are the store's own.
            '.' if first => "%2E",
            'l' if segment == LOST_AND_FOUND => "%6C",
            _ => plain,
        };
        let mut next = encoded(name.is_empty());
        // Reserve one byte for the `%` that continues the segment, unless it ends here.
        let limit = MAX_NAME_LEN - usize::from(rest.peek().is_some());
        if name.len() + next.len() > limit {
            name.push('%');
            names.push(std::mem::take(&mut name));
            next = encoded(true);
        }
        name.push_str(next);
    }
    name.push_str(kind.mark(&name));
    names.push(name);
    names
}

/// Returns the key whose file has these names from the root down, or `None` if the store did not write the file.
pub(super) fn key(names: &[String]) -> Option<BlobKey> {
    decode(names, Kind::File)
}

/// Returns the key with these names, the last of this `kind`. Its `names` are exactly these.
fn decode(names: &[String], kind: Kind) -> Option<BlobKey> {
    let key = BlobKey::from_segments(segments(names)?).ok()?;
    let of_key = self::names(&key, kind);
    of_key.iter().eq(names).then_some(key)
}

/// Returns the segments of these names, whatever their marks.
fn segments(names: &[String]) -> Option<Vec<String>> {
    let mut segments = Vec::with_capacity(names.len());
    let mut segment = String::new();
    for name in names {
        let (name, continues) = match name.strip_suffix('%') {
            Some(name) => (name, true),
            None => (
                ["%file", "%dir"]
                    .iter()
                    .find_map(|mark| name.strip_suffix(mark))
                    .unwrap_or(name),
                false,
            ),
        };
        segment.push_str(&percent_decode_str(name).decode_utf8().ok()?);
        if !continues {
            segments.push(std::mem::take(&mut segment));
        }
    }
    segment.is_empty().then_some(segments)
}

/// Displays the key whose file or directory has these names below the root.
pub(super) struct Decoded<'a>(pub(super) &'a [String]);

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match decode(self.0, Kind::File).or_else(|| decode(self.0, Kind::Directory)) {
            Some(key) => key.fmt(f),
            // The store did not write the file.
            None => write!(f, "{:?}", self.0.join("/")),
        }
    }
}

#[cfg(test)]
mod tests;
