//! [`BlobKey`], the validated name of a stored file, and [`Candidates`], the keys that a fetch may refer to.

use std::{fmt, hash::Hash, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};

/// The bytes that `Display` percent-encodes, so that [`BlobKey::from_path`] parses its output.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The name of a stored file: a list of decoded path segments.
///
/// By default KAZOO stores a file at `ACCOUNT_ID/[OWNER_ID/]DOCUMENT_ID/ATTACHMENT`, which the accessors assume. A
/// `field_list` in the storage settings can make any other list of segments.
///
/// Every key satisfies these rules. A text that violates one is [`ErrorKind::InvalidKey`]:
///
/// - 1 to [`MAX_SEGMENTS`](Self::MAX_SEGMENTS) segments, none empty (empty segments of a target are dropped, because
///   KAZOO sends `//` after a folder with a trailing slash);
/// - each at most [`MAX_SEGMENT_LEN`](Self::MAX_SEGMENT_LEN) bytes of UTF-8, without NUL or control characters;
/// - at most [`MAX_LEN`](Self::MAX_LEN) bytes in total;
/// - none exactly `.` or `..`.
///
/// A segment is decoded exactly once, after splitting: `%2F` in a name is data and never a separator. There is no
/// conversion from a plain string, because it would be unclear whether the string is encoded:
///
/// ```
/// use kazoo_storage::BlobKey;
///
/// let key = BlobKey::from_path("/ACC/202401-DOC/sub%2Fdir.mp3")?;
/// assert_eq!(key.segments().collect::<Vec<_>>(), ["ACC", "202401-DOC", "sub/dir.mp3"]);
/// assert_eq!(key, BlobKey::from_segments(["ACC", "202401-DOC", "sub/dir.mp3"])?);
/// assert_eq!(key.to_string(), "ACC/202401-DOC/sub%2Fdir.mp3");
/// assert_eq!(key.attachment(), "sub/dir.mp3");
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone)]
pub struct BlobKey {
    /// Shared with all keys of the same target that are prefixes of each other.
    shared: Arc<[Box<str>]>,
    len: usize,
}

impl BlobKey {
    /// The maximum number of segments.
    pub const MAX_SEGMENTS: usize = 32;

    /// The maximum length of a decoded segment, in bytes.
    ///
    /// It exceeds the limit of file names, because a `field_list` can make a JSON object a segment.
    pub const MAX_SEGMENT_LEN: usize = 1024;

    /// The maximum length of a key in bytes: its decoded segments, joined with slashes.
    ///
    /// Half the maximum length of a path on most systems, so that the usual tools can copy, back up and remove a file
    /// with the longest key.
    pub const MAX_LEN: usize = 2048;

    /// Parses a percent-encoded path: splits it at `/`, drops empty segments, and decodes each segment once.
    pub fn from_path(path: &str) -> Result<Self> {
        Self::new(decode(path, 1)?)
    }

    /// Creates a key from decoded segments.
    pub fn from_segments<I>(segments: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut checked = Checked::new(1);
        for segment in segments {
            checked.push(segment.as_ref())?;
        }
        Self::new(checked.segments)
    }

    fn new(segments: Vec<Box<str>>) -> Result<Self> {
        if segments.is_empty() {
            return Err(invalid(
                "the request names no file: nothing follows the prefix that the service is mounted at. If the URL in \
                 the storage settings has a query, or field_list is empty, the key is in the query or in the metadata: \
                 configure the key extraction for it. With an empty field_list, also set send_multipart; without it, \
                 all files have the same name",
            ));
        }
        let len = segments.len();
        Ok(Self {
            shared: segments.into(),
            len,
        })
    }

    /// Returns `true` if the allocation of the key contains only its own segments.
    #[cfg(all(test, feature = "fs"))]
    pub(crate) fn shares_nothing(&self) -> bool {
        self.shared.len() == self.len
    }

    fn slice(&self) -> &[Box<str>] {
        self.shared.get(..self.len).unwrap_or(&self.shared)
    }

    /// Returns `true` if neither the number nor the total length of the segments exceeds its maximum.
    fn is_within_limits(&self) -> bool {
        let bytes: usize = self.segments().map(|segment| segment.len() + 1).sum();
        self.len <= Self::MAX_SEGMENTS && bytes <= Self::MAX_LEN + 1
    }

    /// Returns the key of the first `len` segments, or of all if there are fewer.
    fn prefix(&self, len: usize) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            len: len.clamp(1, self.len),
        }
    }

    /// Returns a copy that shares nothing with the request it came from.
    ///
    /// A key found in a fetch shares its segments with the whole target of the request. Keep a detached copy where a
    /// key outlives its request, so that it takes no more memory than its own segments.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self {
            shared: self.slice().into(),
            len: self.len,
        }
    }

    /// Returns `true` if the key begins with the segments of `prefix`.
    #[must_use]
    pub fn starts_with(&self, prefix: &Self) -> bool {
        self.slice().starts_with(prefix.slice())
    }

    /// Returns the decoded segments, in order.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.slice().iter().map(|segment| &**segment)
    }

    /// Returns the first of three or four segments: the account, or `system_data` for files of the system.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        match self.slice() {
            [account, _, _] | [account, _, _, _] => Some(account),
            _ => None,
        }
    }

    /// Returns the second of four segments: the owner of the document. KAZOO omits it if there is none.
    #[must_use]
    pub fn owner_id(&self) -> Option<&str> {
        match self.slice() {
            [_, owner, _, _] => Some(owner),
            _ => None,
        }
    }

    /// Returns the second-last of three or four segments: the document that the file is attached to.
    #[must_use]
    pub fn document_id(&self) -> Option<&str> {
        match self.slice() {
            [_, document, _] | [_, _, document, _] => Some(document),
            _ => None,
        }
    }

    /// Returns the last segment: the name of the file.
    #[must_use]
    pub fn attachment(&self) -> &str {
        self.slice().last().map_or("", |segment| segment)
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidKey, message)
}

/// Splits `path`, then decodes each segment; the segments together are at most as long as `keys` keys.
fn decode(path: &str, keys: usize) -> Result<Vec<Box<str>>> {
    let mut checked = Checked::new(keys);
    for encoded in path.split('/').filter(|segment| !segment.is_empty()) {
        let segment = percent_decode_str(encoded).decode_utf8().map_err(|error| {
            let position = checked.segments.len() + 1;
            let message = format!("segment {position} of the path is not UTF-8; percent-encode the UTF-8 of the name");
            invalid(message).with_source(error)
        })?;
        checked.push(&segment)?;
    }
    Ok(checked.segments)
}

/// Segments that satisfy the rules.
struct Checked {
    segments: Vec<Box<str>>,
    /// Their length in bytes, with a slash after each.
    len: usize,
    /// The number of keys they may form.
    keys: usize,
}

impl Checked {
    fn new(keys: usize) -> Self {
        Self {
            segments: Vec::with_capacity(4),
            len: 0,
            keys,
        }
    }

    /// Appends `segment` if it satisfies the rules.
    fn push(&mut self, segment: &str) -> Result<()> {
        let position = self.segments.len() + 1;
        if position > self.keys * BlobKey::MAX_SEGMENTS {
            return Err(invalid(format!(
                "the path has more than {} segments; shorten it",
                BlobKey::MAX_SEGMENTS
            )));
        }
        let broken = if segment.is_empty() {
            "is empty"
        } else if segment == "." || segment == ".." {
            "is `.` or `..`, which names another directory; rename the file"
        } else if segment.len() > BlobKey::MAX_SEGMENT_LEN {
            "is longer than 1024 bytes"
        } else if segment.chars().any(char::is_control) {
            "contains a NUL or another control character"
        } else {
            self.len += segment.len() + 1;
            if self.len > self.keys * (BlobKey::MAX_LEN + 1) {
                return Err(invalid(format!(
                    "the path is longer than {} bytes, decoded; shorten the names in it",
                    BlobKey::MAX_LEN
                )));
            }
            self.segments.push(segment.into());
            return Ok(());
        };
        Err(invalid(format!("segment {position} of the path {broken}")))
    }
}

impl PartialEq for BlobKey {
    fn eq(&self, other: &Self) -> bool {
        self.slice() == other.slice()
    }
}

impl Eq for BlobKey {}

impl PartialOrd for BlobKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BlobKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.slice().cmp(other.slice())
    }
}

impl Hash for BlobKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.slice().hash(state);
    }
}

/// Formats the key as a percent-encoded path without a leading slash, which [`BlobKey::from_path`] parses.
impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments().enumerate() {
            if position > 0 {
                f.write_str("/")?;
            }
            utf8_percent_encode(segment, ESCAPED).fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobKey({self})")
    }
}

/// The keys that a fetch may refer to, most likely first; at least one and at most [`Candidates::MAX`].
///
/// Since 4.3.106, KAZOO appends the segments of its current settings to the target at which it stored the file, so
/// `GET A/B/C/A/B/C` usually means `A/B/C`. The first candidate that exists answers the fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates(Vec<BlobKey>);

impl Candidates {
    /// The maximum number of candidates.
    pub const MAX: usize = 64;

    /// Returns the candidates of a percent-encoded path: half of it if it is exactly doubled, then the whole path, then
    /// each shorter prefix, longest first.
    ///
    /// ```
    /// use kazoo_storage::key::Candidates;
    ///
    /// let candidates = Candidates::from_path("/ACC/DOC/ATT/ACC/DOC/ATT")?;
    /// assert_eq!(candidates.first().to_string(), "ACC/DOC/ATT");
    /// assert_eq!(candidates.iter().count(), 6);
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    pub fn from_path(path: &str) -> Result<Self> {
        // Twice the maximum, because KAZOO may send the longest key doubled.
        let whole = BlobKey::new(decode(path, 2)?)?;
        let (front, back) = whole.slice().split_at(whole.len / 2);
        let half = (front == back).then_some(front.len());
        let lens = whole.slice().iter().scan(0, |len, segment| {
            *len += segment.len() + 1;
            Some(*len - 1)
        });
        let keys = lens
            .take(BlobKey::MAX_SEGMENTS)
            .take_while(|len| *len <= BlobKey::MAX_LEN);
        let others = (1..=keys.count()).rev().filter(|len| Some(*len) != half);
        Ok(Self(
            half.into_iter().chain(others).map(|len| whole.prefix(len)).collect(),
        ))
    }

    /// Creates candidates from `first` and `others`, in this order, without duplicates and up to [`MAX`](Self::MAX).
    #[must_use]
    pub fn new(first: BlobKey, others: impl IntoIterator<Item = BlobKey>) -> Self {
        let mut keys = vec![first];
        for key in others {
            if keys.len() == Self::MAX {
                break;
            }
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Self(keys)
    }

    /// Puts `prefix` in front of each key. Omits the keys that are too long with it, and fails if all of them are.
    pub(crate) fn with_prefix(self, prefix: &BlobKey) -> Result<Self> {
        let mut keys: Vec<BlobKey> = Vec::with_capacity(self.0.len());
        let mut source: Option<Arc<[Box<str>]>> = None;
        for key in self.0 {
            let len = prefix.len + key.len;
            // Keys of one target share their segments, and so do the keys made of them.
            let shared = match (&source, keys.last()) {
                (Some(source), Some(last)) if Arc::ptr_eq(source, &key.shared) => Arc::clone(&last.shared),
                _ => prefix.slice().iter().chain(key.shared.iter()).cloned().collect(),
            };
            let prefixed = BlobKey { shared, len };
            if prefixed.is_within_limits() {
                source = Some(key.shared);
                keys.push(prefixed);
            }
        }
        if keys.is_empty() {
            return Err(invalid(format!(
                "with the prefix that the server adds to it, the path has more than {} segments or {} bytes, decoded; \
                 shorten the names in it",
                BlobKey::MAX_SEGMENTS,
                BlobKey::MAX_LEN
            )));
        }
        Ok(Self(keys))
    }

    /// Returns the most likely candidate.
    #[must_use]
    pub fn first(&self) -> &BlobKey {
        // Every constructor inserts at least one key.
        #[allow(clippy::indexing_slicing)]
        &self.0[0]
    }

    /// Returns all candidates, most likely first.
    pub fn iter(&self) -> impl Iterator<Item = &BlobKey> {
        self.0.iter()
    }
}

impl From<BlobKey> for Candidates {
    fn from(key: BlobKey) -> Self {
        Self(vec![key])
    }
}

#[cfg(test)]
mod tests;
