//! From a [`BlobKey`] to file names, and back.
//!
//! In every directory the names of files and the names of directories are disjoint: a file's name has a dot, a
//! directory's name has none, and a mark at the end makes up for what a segment lacks or has. So a file `a` and files
//! beneath `a` never compete for a name, and no look at the disk is needed to know that.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// The longest file name made of a segment, in bytes and without its mark.
///
/// A file name holds 255; the rest is for the mark, the dot and the `.json` of a sidecar.
const MAX_NAME_LEN: usize = 240;

/// The longest path below the root, in bytes: that of the sidecar.
///
/// With the [longest root](MAX_ROOT_LEN) it leaves 512 bytes of the 4096 of a path for the directory that a backup is in.
const MAX_PATH_LEN: usize = 2560;

/// The longest absolute path of a root, in bytes.
pub(super) const MAX_ROOT_LEN: usize = 1024;

/// What a file system has at its top, closed to everybody.
const LOST_AND_FOUND: &str = "lost+found";

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
}

impl Kind {
    /// What is appended to `name` to make it a name of this kind.
    ///
    /// A `%` in a name is followed by two hexadecimal digits or by nothing, so no name ends with a mark by itself.
    fn mark(self, name: &str) -> &'static str {
        match (self, name.contains('.')) {
            (Self::File, false) => "%file",
            (Self::Directory, true) => "%dir",
            _ => "",
        }
    }
}

/// Where a key's file is, below the root.
pub(super) struct KeyPath<'a> {
    pub(super) key: &'a BlobKey,
    /// The directories to walk, outermost first.
    pub(super) dirs: Vec<Cow<'a, str>>,
    /// The file's own name in the last of them.
    pub(super) file: Cow<'a, str>,
}

impl<'a> KeyPath<'a> {
    pub(super) fn of(key: &'a BlobKey) -> Self {
        let mut dirs = names(key, Kind::File);
        // A key has a segment, and a segment has a name.
        let file = dirs.pop().unwrap_or(Cow::Borrowed("%"));
        Self { key, dirs, file }
    }

    /// The number of names in the path, which is the position of the file's own name.
    pub(super) fn len(&self) -> usize {
        self.dirs.len() + 1
    }

    /// The name of the sidecar.
    pub(super) fn sidecar(&self) -> String {
        sidecar(&self.file)
    }

    /// The path from the root to the file called `name` that is in the directory of this one.
    pub(super) fn relative(&self, name: &str) -> String {
        let mut path = joined(&self.dirs);
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
        path
    }

    /// [`ErrorKind::InvalidKey`] if the path is longer than one that every tool can use.
    pub(super) fn check(&self) -> Result<()> {
        let len = self.relative(&self.sidecar()).len();
        if len > MAX_PATH_LEN {
            let message = format!(
                "the name is too long for the storage's file system: its path has {len} bytes of at most \
                 {MAX_PATH_LEN}, with `%` and `/` in a name counted as three; shorten the path or the file's name"
            );
            return Err(Error::new(ErrorKind::InvalidKey, message));
        }
        Ok(())
    }
}

/// The path that these names make.
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

/// The name of the sidecar of the file called `name`.
pub(super) fn sidecar(name: &str) -> String {
    format!(".{name}.json")
}

/// The directories that the files beneath `prefix` are in, outermost first.
pub(super) fn directories(prefix: &BlobKey) -> Vec<Cow<'_, str>> {
    names(prefix, Kind::Directory)
}

/// The names of all segments of `key`, the last of them being of this `kind`.
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

/// Whether a segment is its file name, but for the mark, as nearly all are.
fn is_plain(segment: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&segment.len())
        && !segment.starts_with('.')
        && !segment.bytes().any(|byte| matches!(byte, b'%' | b'/'))
        && segment != LOST_AND_FOUND
}

/// The file names of one segment: one, or several to nest if it is too long for one. The last of them is of this `kind`.
///
/// `%`, `/` and a leading `.` are percent-encoded and nothing else is, so a `%` is followed by two digits, or begins a
/// mark, or is the last byte of a directory's name whose segment continues in the next name. The `l` of `lost+found` is
/// encoded too. No two lists of segments have the same names.
fn encode(segment: &str, kind: Kind) -> Vec<String> {
    let mut names = Vec::with_capacity(1);
    let mut name = String::with_capacity(segment.len());
    let mut utf8 = [0; 4];
    let mut rest = segment.chars().peekable();
    while let Some(char) = rest.next() {
        let plain = &*char.encode_utf8(&mut utf8);
        let written = |first: bool| match char {
            '%' => "%25",
            '/' => "%2F",
            // Names with a leading dot are the store's own.
            '.' if first => "%2E",
            'l' if segment == LOST_AND_FOUND => "%6C",
            _ => plain,
        };
        let mut next = written(name.is_empty());
        // One byte stays free for the `%` that continues the segment, unless nothing follows.
        let room = MAX_NAME_LEN - usize::from(rest.peek().is_some());
        if name.len() + next.len() > room {
            name.push('%');
            names.push(std::mem::take(&mut name));
            next = written(true);
        }
        name.push_str(next);
    }
    name.push_str(kind.mark(&name));
    names.push(name);
    names
}

/// The key whose file has these names below the root; none for a file that is not this store's.
pub(super) fn key(names: &[String]) -> Option<BlobKey> {
    decode(names, Kind::File)
}

/// The key with these names, of which the last is of this `kind`. It is exact: `names` of the key are these.
fn decode(names: &[String], kind: Kind) -> Option<BlobKey> {
    let key = BlobKey::from_segments(segments(names)?).ok()?;
    let of_key = self::names(&key, kind);
    of_key.iter().eq(names).then_some(key)
}

/// The segments that these names stand for, whatever marks they have.
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

/// The key whose file or directory has these names below the root, as a message shows it.
pub(super) struct Decoded<'a>(pub(super) &'a [String]);

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match decode(self.0, Kind::File).or_else(|| decode(self.0, Kind::Directory)) {
            Some(key) => key.fmt(f),
            // Somebody else's file.
            None => write!(f, "{:?}", self.0.join("/")),
        }
    }
}

#[cfg(test)]
mod tests;
