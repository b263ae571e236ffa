//! [`BlobKey`]: the validated name of one stored file, and [`Candidates`]: what a fetch may mean.

use std::{fmt, hash::Hash, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, ErrorKind, Result};

/// What `Display` leaves as it is; everything else is percent-encoded, so that the text splits and decodes back.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The name of one stored file: a list of decoded path segments.
///
/// KAZOO puts a file at `ACCOUNT_ID/[OWNER_ID/]DOCUMENT_ID/ATTACHMENT` by default and at whatever its
/// `field_list` says otherwise, so a key is one segment or more, and the accessors name the default layout.
///
/// Every key holds these rules; a text that breaks one is [`ErrorKind::InvalidKey`]:
///
/// - 1 to [`MAX_SEGMENTS`](Self::MAX_SEGMENTS) segments, none empty (empty ones in a target are dropped: KAZOO
///   sends `//` after a folder with a trailing slash);
/// - each at most [`MAX_SEGMENT_LEN`](Self::MAX_SEGMENT_LEN) bytes of UTF-8, without NUL or control characters;
/// - at most [`MAX_LEN`](Self::MAX_LEN) bytes in all;
/// - none exactly `.` or `..`.
///
/// A segment is decoded exactly once, after splitting: `%2F` in a name is data and never a separator. There is
/// no conversion from a plain string, because it could not say whether it is encoded:
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
    /// Shared with the keys of the same target that are prefixes of this one.
    shared: Arc<[Box<str>]>,
    len: usize,
}

impl BlobKey {
    /// The most segments a key has.
    pub const MAX_SEGMENTS: usize = 32;

    /// The most bytes a decoded segment has.
    ///
    /// More than a file name holds: a `field_list` can make a whole JSON object a segment.
    pub const MAX_SEGMENT_LEN: usize = 1024;

    /// The maximum length of a key in bytes: its decoded segments, joined with slashes.
    ///
    /// Half the maximum length of a path on most systems, so that the usual tools can copy, back up and remove a file
    /// with the longest key.
    pub const MAX_LEN: usize = 2048;

    /// The key of a percent-encoded path: split at `/`, empty segments dropped, each of the rest decoded once.
    pub fn from_path(path: &str) -> Result<Self> {
        Self::new(decode(path, 1)?)
    }

    /// The key of these decoded segments.
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
                "the request names no file: nothing follows the prefix the service is mounted at. If the \
                 storage settings have a base URL with a query, or an empty field_list, the key is in the \
                 query or in the metadata: configure the key extraction for it. With an empty field_list set \
                 send_multipart too: without it nothing tells one file from another",
            ));
        }
        let len = segments.len();
        Ok(Self {
            shared: segments.into(),
            len,
        })
    }

    /// Returns `true` if the key's allocation contains only its own segments.
    #[cfg(all(test, feature = "fs"))]
    pub(crate) fn shares_nothing(&self) -> bool {
        self.shared.len() == self.len
    }

    fn slice(&self) -> &[Box<str>] {
        self.shared.get(..self.len).unwrap_or(&self.shared)
    }

    /// The first `len` segments as a key of their own; all of them if there are fewer.
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

    /// The decoded segments, in order.
    #[must_use]
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.slice().iter().map(|segment| &**segment)
    }

    /// The first segment of a key of three or four: the account, or `system_data` for files of the whole system.
    #[must_use]
    pub fn account_id(&self) -> Option<&str> {
        match self.slice() {
            [account, _, _] | [account, _, _, _] => Some(account),
            _ => None,
        }
    }

    /// The second segment of a key of four: the owner, which KAZOO puts in when the document has one.
    #[must_use]
    pub fn owner_id(&self) -> Option<&str> {
        match self.slice() {
            [_, owner, _, _] => Some(owner),
            _ => None,
        }
    }

    /// The last segment but one of a key of three or four: the document the file is attached to.
    #[must_use]
    pub fn document_id(&self) -> Option<&str> {
        match self.slice() {
            [_, document, _] | [_, _, document, _] => Some(document),
            _ => None,
        }
    }

    /// The last segment: the file's own name.
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
                "the path has more than {} segments",
                BlobKey::MAX_SEGMENTS
            )));
        }
        let broken = if segment.is_empty() {
            "is empty"
        } else if segment == "." || segment == ".." {
            "is `.` or `..`, which would name another directory; rename the file"
        } else if segment.len() > BlobKey::MAX_SEGMENT_LEN {
            "is longer than 1024 bytes"
        } else if segment.chars().any(char::is_control) {
            "has a NUL or another control character"
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

/// The key as a percent-encoded path without a leading slash; [`BlobKey::from_path`] reads it back.
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

/// The keys that a fetch may mean, best guess first; never empty and never more than [`Candidates::MAX`].
///
/// Since 4.3.106 KAZOO fetches a file at its stored target with the segments of today's settings appended
/// once more, so `GET A/B/C/A/B/C` usually means `A/B/C`. A store names one key; a fetch names candidates,
/// and the first that exists answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates(Vec<BlobKey>);

impl Candidates {
    /// The most keys that one fetch tries.
    pub const MAX: usize = 64;

    /// What a fetch of this percent-encoded path may mean: half of it if it is exactly doubled, then the whole, then
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
        // The longest key there is may come doubled, and is still found.
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

    /// These keys in this order, at most [`MAX`](Self::MAX) of them and each once; `first` leads.
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

    /// The best guess.
    #[must_use]
    pub fn first(&self) -> &BlobKey {
        // Every constructor puts in one key at least.
        #[allow(clippy::indexing_slicing)]
        &self.0[0]
    }

    /// Every candidate, best guess first.
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
