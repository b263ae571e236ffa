//! [`GetResult`], [`Blob`] and [`BlobInfo`]: the output of [`get`](super::BlobStore::get) and
//! [`head`](super::BlobStore::head).

use std::{ops::Range, time::SystemTime};

use http::{HeaderValue, Uri};

use crate::{body::Body, digest::Digest};

/// The result of a successful [`get`](super::BlobStore::get).
#[derive(Debug)]
#[non_exhaustive]
pub enum GetResult {
    /// The file.
    Blob(Blob),
    /// The absolute URI where the client can fetch the file. The response is a 302, which KAZOO follows.
    Redirect(Uri),
}

impl GetResult {
    /// Returns the file, or `None` for a redirect.
    #[must_use]
    pub fn into_blob(self) -> Option<Blob> {
        match self {
            Self::Blob(blob) => Some(blob),
            Self::Redirect(_) => None,
        }
    }
}

/// A stored file, or a part of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Blob {
    /// The description of the whole file.
    pub info: BlobInfo,
    /// The range of the file that `body` contains; `0..info.len` for the whole file.
    pub range: Range<u64>,
    /// The bytes. If reading fails, the body ends with an error.
    pub body: Body,
}

impl Blob {
    /// Creates a blob of the whole file. `body` is exactly `info.len` bytes.
    pub fn new(info: BlobInfo, body: impl Into<Body>) -> Self {
        Self {
            range: 0..info.len,
            info,
            body: body.into(),
        }
    }

    /// Creates a blob of the bytes in `range`, which lies within the file: see [`ByteRange::of`](super::ByteRange::of).
    /// `body` is exactly these bytes.
    pub fn partial(info: BlobInfo, range: Range<u64>, body: impl Into<Body>) -> Self {
        Self {
            info,
            range,
            body: body.into(),
        }
    }
}

/// The description of a stored file.
///
/// ```
/// use std::time::SystemTime;
///
/// use http::HeaderValue;
/// use kazoo_storage::{BlobInfo, digest::Digest};
///
/// let info = BlobInfo::new(3)
///     .with_content_type(HeaderValue::from_static("audio/mpeg"))
///     .with_etag(HeaderValue::from_static("\"5f3c\""))
///     .with_modified(SystemTime::now())
///     .with_digest(Digest::of(b"ID3"));
/// assert_eq!(info.etag.unwrap(), "\"5f3c\"");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobInfo {
    /// The length of the whole file, in bytes.
    pub len: u64,
    /// The media type of the upload. `None` is sent as `application/octet-stream`.
    pub content_type: Option<HeaderValue>,
    /// The entity tag with its quotes, such as `"5f3c"`. It identifies the bytes that a fetch returns: no two contents
    /// of a key share a tag. If the same content is stored again, even with another media type or other metadata, the
    /// tag may stay the same.
    pub etag: Option<HeaderValue>,
    /// The time at which the file was stored.
    pub modified: Option<SystemTime>,
    /// The digest of the uploaded content, if the store has one. Sent as `Repr-Digest`.
    pub digest: Option<Digest>,
}

impl BlobInfo {
    /// Describes a file of `len` bytes, with all other fields unset.
    #[must_use]
    pub fn new(len: u64) -> Self {
        Self {
            len,
            content_type: None,
            etag: None,
            modified: None,
            digest: None,
        }
    }

    /// Sets or clears the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Option<HeaderValue>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets or clears the entity tag, which includes its quotes.
    #[must_use]
    pub fn with_etag(mut self, etag: impl Into<Option<HeaderValue>>) -> Self {
        self.etag = etag.into();
        self
    }

    /// Sets or clears the time at which the file was stored.
    #[must_use]
    pub fn with_modified(mut self, modified: impl Into<Option<SystemTime>>) -> Self {
        self.modified = modified.into();
        self
    }

    /// Sets or clears the digest of the uploaded content.
    #[must_use]
    pub fn with_digest(mut self, digest: impl Into<Option<Digest>>) -> Self {
        self.digest = digest.into();
        self
    }
}
