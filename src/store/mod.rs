//! The [`BlobStore`] trait, what goes into a store and what comes out, and the ready stores.

mod catalog;
pub(crate) mod dates;
mod erased;
pub(crate) mod etag;
#[cfg(feature = "metrics")]
mod measured;
mod memory;
pub(crate) mod precondition;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(all(feature = "fs", unix))]
mod fs;
#[cfg(feature = "object-store")]
mod object_store;

use std::{fmt, future::Future, ops::Range, sync::Arc, time::SystemTime};

use http::{HeaderValue, Uri};

#[cfg(all(feature = "fs", unix))]
pub use self::fs::{Damage, FsOptions, FsScrub, FsStore, Scrubbed, SetAside, Verdict};
#[cfg(feature = "metrics")]
pub use self::measured::MeasuredStore;
#[cfg(feature = "object-store")]
pub use self::object_store::ObjectStoreBlobs;
pub use self::{
    catalog::{BlobCatalog, BlobEntry},
    erased::{DynBlobCatalog, DynBlobStore},
    memory::MemoryStore,
    precondition::Precondition,
};
use crate::{
    body::Body,
    digest::Digest,
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// Where files are kept. Implement this, and the layers of this crate are KAZOO's way to it.
///
/// Every method is called from many tasks at once. `Arc<S>` is a store when `S` is one, and
/// [`DynBlobStore`] is a store chosen at run time. The contract below is also a test suite: see the
/// `conformance` feature.
pub trait BlobStore: Send + Sync + 'static {
    /// Stores the whole of `upload`, or nothing.
    ///
    /// The body's clean end is the commit: `put` returns `Ok` only after the body has ended and its bytes are
    /// durable, and from then on every `get` sees the new content with the new metadata, never one with
    /// the other's. If the body yields an error, `put` returns it; if this future is dropped, or fails in any
    /// way, what was stored under the key before stays as it was.
    ///
    /// The same file comes again, even while it is still being stored: that is no conflict, and one of them wins
    /// whole.
    ///
    /// If the upload has a [`Precondition`], `put` [checks](Precondition::check) it against the file stored under the
    /// key in the same atomic step that makes the upload visible. A check before the end of the body is not sufficient:
    /// another upload may be stored meanwhile. If the condition fails, nothing is stored. A store that cannot check it
    /// atomically refuses every conditional upload with [`ErrorKind::InvalidRequest`].
    fn put(&self, upload: Upload) -> impl Future<Output = Result<Stored>> + Send;

    /// The file under `key`, or the bytes of it that `range` names; [`ErrorKind::NotFound`] if there is none.
    ///
    /// If no byte of `range` exists, [`ErrorKind::RangeNotSatisfiable`]. A file that is replaced while it is
    /// being read is read to its end as it was.
    fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> impl Future<Output = Result<Fetched>> + Send;

    /// What there is to know about the file under `key`, without its bytes.
    ///
    /// By default this asks `get` and drops the body.
    fn head(&self, key: &BlobKey) -> impl Future<Output = Result<BlobInfo>> + Send {
        async {
            match self.get(key, None).await? {
                Fetched::Blob(blob) => Ok(blob.info),
                Fetched::Redirect(_) => Err(Error::new(
                    ErrorKind::Internal,
                    "a store whose `get` redirects must implement `head`",
                )),
            }
        }
    }

    /// The metadata that the file under `key` was stored with, if any; [`ErrorKind::NotFound`] if there is no file.
    fn metadata(&self, key: &BlobKey) -> impl Future<Output = Result<Option<Metadata>>> + Send;

    /// Whether a file could be stored just now, found out by storing and reading back a few bytes that leave nothing
    /// behind.
    ///
    /// Asked when KAZOO's credentials probe arrives: an error here is what the administrator sees instead of settings
    /// that do not work. By default a store is always ready.
    fn check(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

impl<S: BlobStore + ?Sized> BlobStore for Arc<S> {
    fn put(&self, upload: Upload) -> impl Future<Output = Result<Stored>> + Send {
        S::put(self, upload)
    }

    fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> impl Future<Output = Result<Fetched>> + Send {
        S::get(self, key, range)
    }

    fn head(&self, key: &BlobKey) -> impl Future<Output = Result<BlobInfo>> + Send {
        S::head(self, key)
    }

    fn metadata(&self, key: &BlobKey) -> impl Future<Output = Result<Option<Metadata>>> + Send {
        S::metadata(self, key)
    }

    fn check(&self) -> impl Future<Output = Result<()>> + Send {
        S::check(self)
    }
}

/// One file on its way into a store.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upload {
    /// The name to store it under.
    pub key: BlobKey,
    /// The content. Only its clean end makes it a whole file.
    pub body: Body,
    /// The media type, if the client said one.
    pub content_type: Option<HeaderValue>,
    /// The JSON document that came with it, if any.
    pub metadata: Option<Metadata>,
    /// How many bytes the body will have, if that is known beforehand.
    pub len: Option<u64>,
    /// The condition that must hold when the upload is committed.
    pub precondition: Precondition,
}

impl Upload {
    /// An upload of `body` under `key`, with nothing else known about it.
    pub fn new(key: BlobKey, body: impl Into<Body>) -> Self {
        Self {
            key,
            body: body.into(),
            content_type: None,
            metadata: None,
            len: None,
            precondition: Precondition::default(),
        }
    }

    /// The same upload with this media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: HeaderValue) -> Self {
        self.content_type = Some(content_type);
        self
    }

    /// The same upload with this JSON document.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Returns the same upload, to be stored only under this condition.
    #[must_use]
    pub fn with_precondition(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// What a successful [`put`](BlobStore::put) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Nothing was stored under the key before.
    Created,
    /// An older file gave way.
    Replaced,
}

/// What a successful [`get`](BlobStore::get) found.
#[derive(Debug)]
pub enum Fetched {
    /// The file itself.
    Blob(Blob),
    /// Where the client can fetch it: an absolute URI, which becomes a 302. KAZOO follows it.
    Redirect(Uri),
}

impl Fetched {
    /// The file itself, if it is not elsewhere.
    #[must_use]
    pub fn into_blob(self) -> Option<Blob> {
        match self {
            Self::Blob(blob) => Some(blob),
            Self::Redirect(_) => None,
        }
    }
}

/// A stored file, or a part of it, on its way out.
#[derive(Debug)]
#[non_exhaustive]
pub struct Blob {
    /// What there is to know about the whole file.
    pub info: BlobInfo,
    /// Which bytes of the file `body` holds; the whole file is `0..info.len`.
    pub range: Range<u64>,
    /// The bytes. A read that fails midway ends them with an error.
    pub body: Body,
}

impl Blob {
    /// The whole file.
    pub fn new(info: BlobInfo, body: impl Into<Body>) -> Self {
        Self {
            range: 0..info.len,
            info,
            body: body.into(),
        }
    }

    /// The bytes of the file in `range`, which `body` holds.
    pub fn partial(info: BlobInfo, range: Range<u64>, body: impl Into<Body>) -> Self {
        Self {
            info,
            range,
            body: body.into(),
        }
    }
}

/// What there is to know about a stored file without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobInfo {
    /// The length of the whole file, in bytes.
    pub len: u64,
    /// The media type it was stored with; `None` is answered as `application/octet-stream`.
    pub content_type: Option<HeaderValue>,
    /// An entity tag with its quotes, such as `"5f3c"`. It differs for every content the key has had, and identifies
    /// the bytes that a fetch returns: no two contents share a tag. A content that is stored again may keep its tag,
    /// even with another media type or other metadata.
    pub etag: Option<HeaderValue>,
    /// When it was stored.
    pub modified: Option<SystemTime>,
    /// The digest of the whole file as it was uploaded, if the store keeps one; answered as `Repr-Digest`.
    pub digest: Option<Digest>,
}

impl BlobInfo {
    /// A file of `len` bytes, with nothing else known about it.
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
}

/// Some of a file's bytes, as a client asks for them before it knows the file's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From this offset to the end.
    From(u64),
    /// From the first offset to the second, both included.
    FromTo(u64, u64),
    /// This many bytes at the end.
    Last(u64),
}

impl ByteRange {
    /// The bytes it means of a file of `len` bytes; [`ErrorKind::RangeNotSatisfiable`] if there are none.
    ///
    /// ```
    /// use kazoo_storage::ByteRange;
    ///
    /// assert_eq!(ByteRange::From(2).of(10)?, 2..10);
    /// assert_eq!(ByteRange::FromTo(2, 99).of(10)?, 2..10);
    /// assert_eq!(ByteRange::Last(3).of(10)?, 7..10);
    /// assert!(ByteRange::From(10).of(10).is_err());
    /// # Ok::<(), kazoo_storage::Error>(())
    /// ```
    pub fn of(self, len: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::From(start) => start..len,
            Self::FromTo(start, last) => start..last.saturating_add(1).min(len),
            Self::Last(count) => len.saturating_sub(count)..len,
        };
        if range.is_empty() {
            Err(NotSatisfiable { range: self, len }.into())
        } else {
            Ok(range)
        }
    }
}

struct NotSatisfiable {
    range: ByteRange,
    len: u64,
}

impl From<NotSatisfiable> for Error {
    fn from(NotSatisfiable { range, len }: NotSatisfiable) -> Self {
        Self::new(
            ErrorKind::RangeNotSatisfiable,
            format!("the file has {len} bytes, none of them in {range}"),
        )
    }
}

/// The range as it stands in a `Range` header, behind `bytes=`.
impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(start) => write!(f, "{start}-"),
            Self::FromTo(start, last) => write!(f, "{start}-{last}"),
            Self::Last(count) => write!(f, "-{count}"),
        }
    }
}
