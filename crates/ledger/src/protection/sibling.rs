//! [`Siblings`]: the names of uploads that must not replace a file.

use kazoo_storage::{BlobKey, Result, digest::Digest};
use uuid::Uuid;

use crate::rows::encode;

/// Separates the name of the file from the number of the sibling.
const MARK: char = '~';

/// The character after [`MARK`].
const AFTER_MARK: char = '\u{7f}';

/// Number of digits of a sibling.
const DIGITS: usize = 16;

/// Maximum length of an extension after a digest, in bytes, with its dot.
const MAX_EXTENSION: usize = 16;

/// Length of the segments between the first and the name in a key that would be too long, in bytes. Even the first segment of the
/// maximum length, 30 of these and a digest are a valid key.
const SHORT_SEGMENT: usize = 24;

/// The keys `NAME~0123456789abcdef.EXT` beside the key with the name `NAME.EXT`.
///
/// If these would be too long, the digest of the whole key replaces `NAME`. If they still are, the segments between the first and
/// the name are shortened. So each file has siblings, and no two files have the same.
pub(super) struct Siblings {
    /// All segments but the name.
    parents: Vec<String>,
    stem: String,
    /// With its dot, or empty.
    extension: String,
}

impl Siblings {
    pub(super) fn of(key: &BlobKey) -> Self {
        let mut parents: Vec<String> = key.segments().map(str::to_owned).collect();
        let name = parents.pop().unwrap_or_default();
        let dot = name.rfind('.').filter(|dot| *dot > 0).unwrap_or(name.len());
        let (stem, extension) = name.split_at(dot);
        let mut siblings = Self {
            parents,
            stem: stem.to_owned(),
            extension: extension.to_owned(),
        };
        if siblings.numbered(&"0".repeat(DIGITS)).is_ok() {
            return siblings;
        }
        siblings.stem = Digest::of(encode(key).as_bytes()).to_string();
        if siblings.extension.len() > MAX_EXTENSION {
            siblings.extension.clear();
        }
        if siblings.numbered(&"0".repeat(DIGITS)).is_err() {
            for segment in siblings.parents.iter_mut().skip(1) {
                let end = (0..=SHORT_SEGMENT).rev().find(|end| segment.is_char_boundary(*end));
                segment.truncate(end.unwrap_or_default());
            }
        }
        siblings
    }

    /// Returns a sibling that no other upload has.
    pub(super) fn unique(&self) -> Result<BlobKey> {
        // The last digits are random.
        let id = Uuid::now_v7().simple().to_string();
        let digits = id.get(id.len().saturating_sub(DIGITS)..).unwrap_or_default();
        self.numbered(digits)
    }

    fn numbered(&self, digits: &str) -> Result<BlobKey> {
        let name = format!("{}{MARK}{digits}{}", self.stem, self.extension);
        BlobKey::from_segments(self.parents.iter().chain([&name]))
    }

    /// Returns the digits in the name of a sibling, with their mark: the part that tells nothing of the name.
    pub(super) fn suffix<'a>(&self, sibling: &'a BlobKey) -> &'a str {
        let rest = sibling.attachment().get(self.stem.len()..);
        rest.and_then(|rest| rest.get(..MARK.len_utf8() + DIGITS))
            .unwrap_or_default()
    }

    /// Returns `true` if `key` is one of the siblings. Other files may also be in the [`range`](Self::range).
    pub(super) fn contains(&self, key: &BlobKey) -> bool {
        let parents = key.segments().take(key.segments().len().saturating_sub(1));
        let digits = key.attachment().strip_prefix(&self.stem);
        let digits = digits.and_then(|rest| rest.strip_prefix(MARK)?.strip_suffix(&self.extension));
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parents.eq(self.parents.iter().map(String::as_str))
            && digits.is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(is_digit))
    }

    /// Returns the limits of the keys of siblings in the database: the first, and one that is too large.
    pub(super) fn range(&self) -> Result<(String, String)> {
        let limit = |mark| {
            let name = format!("{}{mark}", self.stem);
            BlobKey::from_segments(self.parents.iter().chain([&name])).map(|key| encode(&key))
        };
        let first = limit(MARK)?;
        let mut last = first.clone();
        last.pop();
        last.push(AFTER_MARK);
        Ok((first, last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_has_the_extension_and_is_in_the_range() {
        for (path, begin, end) in [
            ("a/d/message.mp3", "message~", ".mp3"),
            ("a/d/noext", "noext~", ""),
            ("a/d/.hidden", ".hidden~", ""),
            ("one.tar.gz", "one.tar~", ".gz"),
        ] {
            let key = BlobKey::from_path(path).unwrap();
            let siblings = Siblings::of(&key);
            let (first, second) = (siblings.unique().unwrap(), siblings.unique().unwrap());
            assert_ne!(first, second);
            let name = first.attachment();
            assert!(name.starts_with(begin) && name.ends_with(end), "{name}");
            assert_eq!(name.len(), begin.len() + 16 + end.len());
            let suffix = siblings.suffix(&first);
            assert!(
                suffix.len() == 17 && name == format!("{}{suffix}{end}", siblings.stem),
                "{suffix}"
            );
            assert_eq!(first.account_id(), key.account_id());
            let (from, to) = siblings.range().unwrap();
            assert!(encode(&first) >= from && encode(&first) < to);
            assert!(encode(&key) < from || encode(&key) >= to);
        }
    }

    #[test]
    fn every_key_has_siblings_in_its_account() {
        let many = |first: &str, segment: &str| {
            let mut segments = vec![first.to_owned()];
            segments.extend(std::iter::repeat_n(segment.to_owned(), 31));
            segments
        };
        for segments in [
            vec!["é".repeat(512), format!("{}.mp3xx", "é".repeat(508))],
            vec!["x".repeat(1024), "y".repeat(1023)],
            vec!["a".into(), "d".into(), format!("a.{}", "x".repeat(1020))],
            vec![
                "a".into(),
                "d".into(),
                format!("{}.{}", "s".repeat(16), "x".repeat(1007)),
            ],
            vec!["x".repeat(1023), "y".repeat(1019), "ab.c".into()],
            vec!["x".repeat(1024), "o".repeat(500), "y".repeat(516), "ab.mp".into()],
            vec!["a".into(), "é".repeat(512), "é".repeat(507), "a.mp3".into()],
            many(&"x".repeat(1024), &"y".repeat(32)),
            many("a", &"y".repeat(65)),
        ] {
            let key = BlobKey::from_segments(&segments).unwrap();
            let siblings = Siblings::of(&key);
            let sibling = siblings.unique().unwrap();
            let (from, to) = siblings.range().unwrap();
            assert!(encode(&sibling) >= from && encode(&sibling) < to);
            assert!(siblings.contains(&sibling) && !siblings.contains(&key));
            assert_eq!(sibling.segments().len(), key.segments().len());
            assert_eq!(sibling.segments().next(), key.segments().next());
            // Another name has other siblings.
            let mut other = segments.clone();
            let name = other.pop().unwrap();
            other.push(format!("z{}", name.chars().skip(1).collect::<String>()));
            let other = Siblings::of(&BlobKey::from_segments(&other).unwrap());
            assert!(!other.contains(&sibling));
        }
    }

    #[test]
    fn a_document_of_kazoo_keeps_its_files() {
        let account = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";
        let name = format!("{}.mp3", "x".repeat(1020));
        let key = BlobKey::from_segments([account, account, "202401-9f86d081884c7d659a2feaa0c55ad015", &name]).unwrap();
        let sibling = Siblings::of(&key).unique().unwrap();
        assert_eq!(sibling.account_id(), key.account_id());
        assert_eq!(sibling.owner_id(), key.owner_id());
        assert_eq!(sibling.document_id(), key.document_id());
        assert_eq!(sibling.attachment().rsplit_once('.').map(|(_, end)| end), Some("mp3"));
    }

    #[test]
    fn only_a_name_with_digits_is_a_sibling() {
        let siblings = Siblings::of(&BlobKey::from_path("a/d/fake.mp3").unwrap());
        for (path, expected) in [
            ("a/d/fake~0123456789abcdef.mp3", true),
            ("a/d/fake~0123456789ABCDEF.mp3", false),
            ("a/d/fake~0123456789abcde.mp3", false),
            ("a/d/fake~0123456789abcdef0.mp3", false),
            ("a/d/fake~0123456789abcdef~0123456789abcdef.mp3", false),
            ("a/d/fake~0123456789abcdef.wav", false),
            ("a/d/fake~0123456789abcdef", false),
            ("a/d/fake~mine.mp3", false),
            ("a/e/fake~0123456789abcdef.mp3", false),
            ("a/d/x/fake~0123456789abcdef.mp3", false),
            ("a/d/fake.mp3", false),
        ] {
            assert_eq!(
                siblings.contains(&BlobKey::from_path(path).unwrap()),
                expected,
                "{path}"
            );
        }
    }
}
