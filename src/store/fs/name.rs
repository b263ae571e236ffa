//! From a [`BlobKey`] to file names, and back for messages.

use std::{borrow::Cow, fmt};

use percent_encoding::percent_decode_str;

use crate::{
    error::{Error, ErrorKind},
    key::BlobKey,
};

/// The longest file name made of a segment, in bytes.
///
/// A file name holds 255; the rest is room for the dot and the `.json` of a sidecar.
const MAX_NAME_LEN: usize = 240;

/// What a file system has at its top, closed to everybody.
const LOST_AND_FOUND: &str = "lost+found";

/// Where a key's file is, below the root.
pub(super) struct KeyPath<'a> {
    pub(super) key: &'a BlobKey,
    /// The directories to walk, outermost first.
    pub(super) dirs: Vec<Name<'a>>,
    /// The file's own name in the last of them.
    pub(super) file: Name<'a>,
}

/// One file name, and how many of the key's segments end with it.
pub(super) struct Name<'a> {
    pub(super) text: Cow<'a, str>,
    segments: usize,
}

impl<'a> KeyPath<'a> {
    pub(super) fn of(key: &'a BlobKey) -> Self {
        let mut names = Vec::with_capacity(key.segments().len());
        for (position, segment) in key.segments().enumerate() {
            let segments = position + 1;
            if is_plain(segment) {
                let text = Cow::Borrowed(segment);
                names.push(Name { text, segments });
            } else {
                names.extend(encode(segment).into_iter().map(|name| Name {
                    text: Cow::Owned(name),
                    segments,
                }));
            }
        }
        // A key has a segment, and a segment has a name.
        let file = names.pop().unwrap_or(Name {
            text: Cow::Borrowed("%"),
            segments: 1,
        });
        Self { key, dirs: names, file }
    }

    /// The path from the root to the file called `name` that is in the directory of this one.
    pub(super) fn relative(&self, name: &str) -> String {
        let mut path =
            String::with_capacity(self.dirs.iter().map(|dir| dir.text.len() + 1).sum::<usize>() + name.len());
        for dir in &self.dirs {
            path.push_str(&dir.text);
            path.push('/');
        }
        path.push_str(name);
        path
    }

    /// What stands at `name` is not of the kind that this key needs there.
    pub(super) fn obstacle(&self, name: &Name<'_>, obstacle: Obstacle) -> Error {
        let key = self.key;
        let upto = BlobKey::from_segments(key.segments().take(name.segments));
        let at = upto.map_or_else(|_| key.to_string(), |upto| upto.to_string());
        let message = match obstacle {
            Obstacle::File => format!(
                "`{key}` cannot be stored: `{at}` is a stored file, and nothing can be stored beneath a file; \
                 change one of the two names"
            ),
            Obstacle::Beneath(other) => format!(
                "`{key}` cannot be stored: `{other}` is stored beneath it, which makes `{key}` a directory; \
                 change one of the two names"
            ),
            Obstacle::Symlink => format!(
                "`{key}` cannot be used: `{at}` is a symbolic link in the storage root, and links there are never \
                 followed; the operator has to replace it by what it points to"
            ),
            Obstacle::Other => format!(
                "`{key}` cannot be used: `{at}` is neither a file nor a directory in the storage root; the operator \
                 has to remove it"
            ),
        };
        Error::new(ErrorKind::Conflict, message)
    }
}

/// What can be in a file's way.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// A file where a directory must be.
    File,
    /// A directory where the file must be; this is stored in it.
    Beneath(String),
    Symlink,
    /// A FIFO, a socket, a device.
    Other,
}

/// The name of the sidecar of the file called `name`.
pub(super) fn sidecar(name: &str) -> String {
    format!(".{name}.json")
}

/// Whether a segment is its file name, as nearly all are.
fn is_plain(segment: &str) -> bool {
    (1..=MAX_NAME_LEN).contains(&segment.len())
        && !segment.starts_with('.')
        && !segment.bytes().any(|byte| matches!(byte, b'%' | b'/'))
        && segment != LOST_AND_FOUND
}

/// The file names of one segment: one, or several to nest if it is too long for one.
///
/// `%`, `/` and a leading `.` are percent-encoded and nothing else is, so a `%` is always followed by two digits, but
/// for the last byte of a name whose segment goes on in the next name. The `l` of `lost+found` is encoded too. No two
/// lists of segments have the same names.
fn encode(segment: &str) -> Vec<String> {
    if segment == LOST_AND_FOUND {
        return vec![segment.replacen('l', "%6C", 1)];
    }
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
            _ => plain,
        };
        let mut next = written(name.is_empty());
        // One byte stays free for the mark, unless nothing follows.
        let room = MAX_NAME_LEN - usize::from(rest.peek().is_some());
        if name.len() + next.len() > room {
            name.push('%');
            names.push(std::mem::take(&mut name));
            next = written(true);
        }
        name.push_str(next);
    }
    names.push(name);
    names
}

/// The key whose file has these names below the root; none for a file that is not this store's.
pub(super) fn key(names: &[String]) -> Option<BlobKey> {
    let key = BlobKey::from_segments(segments(names)?).ok()?;
    let path = KeyPath::of(&key);
    let of_key = path.dirs.iter().chain([&path.file]).map(|name| &*name.text);
    of_key.eq(names.iter().map(String::as_str)).then_some(key)
}

/// The segments that these names stand for.
fn segments(names: &[String]) -> Option<Vec<String>> {
    let mut segments = Vec::with_capacity(names.len());
    let mut segment = String::new();
    for name in names {
        let (name, goes_on) = name
            .strip_suffix('%')
            .map_or((name.as_str(), false), |name| (name, true));
        segment.push_str(&percent_decode_str(name).decode_utf8().ok()?);
        if !goes_on {
            segments.push(std::mem::take(&mut segment));
        }
    }
    segment.is_empty().then_some(segments)
}

/// The key whose file has these names below the root, as a message shows it.
pub(super) struct Decoded<'a>(pub(super) &'a [String]);

impl fmt::Display for Decoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match key(self.0) {
            Some(key) => key.fmt(f),
            // Somebody else's file.
            None => write!(f, "{:?}", self.0.join("/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn names(key: &BlobKey) -> Vec<String> {
        let path = KeyPath::of(key);
        path.dirs
            .into_iter()
            .chain([path.file])
            .map(|name| name.text.into_owned())
            .collect()
    }

    #[test]
    fn only_what_a_file_name_cannot_hold_is_encoded() {
        for (segment, name) in [
            ("message.mp3", "message.mp3"),
            ("with space & ünïcödé;.wav", "with space & ünïcödé;.wav"),
            ("50%.mp3", "50%25.mp3"),
            ("a/b", "a%2Fb"),
            ("a\\b", "a\\b"),
            (".hidden", "%2Ehidden"),
            ("..mp3", "%2E.mp3"),
            ("%2E", "%252E"),
            ("lost+found", "%6Cost+found"),
        ] {
            assert_eq!(encode(segment), [name]);
            assert_eq!(is_plain(segment), segment == name, "{segment}");
        }
    }

    #[test]
    fn a_long_segment_nests_and_no_name_is_too_long_or_cut_inside_an_escape() {
        for segment in [
            "x".repeat(240),
            "x".repeat(241),
            "x".repeat(1024),
            "%".repeat(1024),
            ".".repeat(1024),
            "é".repeat(512),
            format!("{}€", "x".repeat(238)),
            format!("{}.hidden", "x".repeat(239)),
        ] {
            let names = encode(&segment);
            assert_eq!(is_plain(&segment), names == [&*segment]);
            let (last, others) = names.split_last().unwrap();
            for name in &names {
                assert!(name.len() <= MAX_NAME_LEN, "{name}");
                assert!(!name.starts_with('.'), "{name}");
            }
            assert!(others.iter().all(|name| name.ends_with('%')), "{names:?}");
            assert!(!last.ends_with('%'), "{last}");
            let joined: String = others
                .iter()
                .map(|name| &name[..name.len() - 1])
                .chain([&**last])
                .collect();
            assert_eq!(percent_decode_str(&joined).decode_utf8().unwrap(), segment);
        }
        assert_eq!(encode(&"x".repeat(240)).len(), 1);
    }

    #[test]
    fn no_two_keys_share_a_path() {
        let long = "x".repeat(239);
        let mut seen = HashMap::new();
        for segments in [
            vec!["a", "b"],
            vec!["a/b"],
            vec!["a%2Fb"],
            vec!["a%", "b"],
            vec!["a%b"],
            vec![".a"],
            vec!["%2Ea"],
            vec!["lost+found", "a"],
            vec!["%6Cost+found", "a"],
            vec![&long, "yz"],
            vec![&*format!("{long}yz")],
            vec![&*format!("{long}%"), "yz"],
            vec![&*format!("{long}/yz")],
            vec![&*format!("{long}.yz")],
        ] {
            let key = BlobKey::from_segments(&segments).unwrap();
            let names = names(&key);
            assert_eq!(Decoded(&names).to_string(), key.to_string());
            assert_eq!(seen.insert(names, segments.join("|")), None);
        }
    }
}
