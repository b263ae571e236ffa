//! The [`BlobStore`] trait, its input and output types, and the stores of this crate.
//!
//! ```
//! use kazoo_storage::{BlobKey, BlobStore as _, ErrorKind, MemoryStore, PutResult, Upload};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let store = MemoryStore::new();
//! let key = BlobKey::from_path("ACCOUNT/DOCUMENT/message.mp3")?;
//! assert_eq!(store.head(&key).await.unwrap_err().kind(), ErrorKind::NotFound);
//! assert_eq!(store.put(Upload::new(key.clone(), "ID3")).await?, PutResult::Created);
//! assert_eq!(store.head(&key).await?.len, 3);
//! # Ok::<(), kazoo_storage::Error>(())
//! # }).unwrap();
//! ```
//!
//! [Write a store](https://github.com/kazoo-storage/kazoo-storage/blob/main/docs/write-a-store.md) shows how to implement the trait.

mod blob;
mod catalog;
pub(crate) mod dates;
mod erased;
pub(crate) mod etag;
mod faulty;
#[cfg(feature = "metrics")]
mod measured;
mod memory;
pub(crate) mod precondition;
mod range;
mod upload;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(all(feature = "fs", unix))]
mod fs;
#[cfg(feature = "object-store")]
mod object_store;

use std::{future::Future, sync::Arc};

#[cfg(all(feature = "fs", unix))]
pub use self::fs::{Damage, FsOptions, FsScrub, FsStore, Scrubbed, SetAside, Verdict};
#[cfg(feature = "metrics")]
pub use self::measured::MeasuredStore;
#[cfg(feature = "object-store")]
pub use self::object_store::ObjectStoreBlobs;
pub use self::{
    blob::{Blob, BlobInfo, GetResult},
    catalog::{BlobCatalog, BlobEntry},
    erased::{DynBlobCatalog, DynBlobStore},
    faulty::{Fault, FaultyStore, Operation},
    memory::MemoryStore,
    precondition::Precondition,
    range::ByteRange,
    upload::{PutResult, Upload},
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// A store of files. Implement this trait to let KAZOO store its files anywhere.
///
/// Methods are called from many tasks concurrently. `Arc<S>` is a store if `S` is one, and [`DynBlobStore`] is a store
/// whose type is chosen at run time. The feature `conformance` provides the contract below as a test suite.
pub trait BlobStore: Send + Sync + 'static {
    /// Stores `upload` completely or not at all.
    ///
    /// The clean end of the body is the commit. `put` returns `Ok` only after the body has ended and its bytes are
    /// durable. From then on every `get` returns the new content with the new metadata, never a mixture of two uploads.
    /// If the body yields an error, `put` returns that error. If `put` fails, or its future is dropped before the end of
    /// the body, the file that was stored under the key before stays unchanged. If the future is dropped later, `put`
    /// may still store the upload.
    ///
    /// Clients retry uploads, even while the first attempt is still running. Concurrent uploads of one key all succeed,
    /// and the content of exactly one of them remains.
    ///
    /// If the upload has a [`Precondition`], `put` [checks](Precondition::check) it against the file stored under the
    /// key in the same atomic step that makes the upload visible. A check before the end of the body is not sufficient:
    /// another upload may be stored meanwhile. If the condition fails, nothing is stored. A store that cannot check it
    /// atomically refuses every conditional upload with [`ErrorKind::InvalidRequest`].
    fn put(&self, upload: Upload) -> impl Future<Output = Result<PutResult>> + Send;

    /// Returns the file under `key`, or its bytes in `range`.
    ///
    /// [`ErrorKind::NotFound`] if there is no file, [`ErrorKind::RangeNotSatisfiable`] if no byte of `range` exists.
    ///
    /// If the file is replaced or deleted during the read, the body returns the old content to its end, or ends with an
    /// error. It never contains bytes of the new content, and never ends early without an error.
    fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> impl Future<Output = Result<GetResult>> + Send;

    /// Describes the file under `key`, as `get` does. [`ErrorKind::NotFound`] if there is no file.
    ///
    /// The default implementation calls `get` and drops the body. It fails if `get` redirects.
    fn head(&self, key: &BlobKey) -> impl Future<Output = Result<BlobInfo>> + Send {
        async {
            match self.get(key, None).await? {
                GetResult::Blob(blob) => Ok(blob.info),
                GetResult::Redirect(_) => Err(Error::new(
                    ErrorKind::Internal,
                    "a store whose `get` redirects must implement `head`",
                )),
            }
        }
    }

    /// Returns the metadata that the file under `key` was stored with, if any. [`ErrorKind::NotFound`] if there is no
    /// file.
    fn metadata(&self, key: &BlobKey) -> impl Future<Output = Result<Option<Metadata>>> + Send;

    /// Returns what [`head`](Self::head) and [`metadata`](Self::metadata) return for the file under `key`, for callers
    /// that need both. [`ErrorKind::NotFound`] if there is no file.
    ///
    /// The default implementation calls both. If the file is replaced in between, they describe two uploads. A store that
    /// finds both in one place implements this method: it reads once, and both describe the same upload.
    fn describe(&self, key: &BlobKey) -> impl Future<Output = Result<(BlobInfo, Option<Metadata>)>> + Send {
        async { Ok((self.head(key).await?, self.metadata(key).await?)) }
    }

    /// Checks that a file can be stored: stores a few bytes, reads them back and removes them. Stored files stay
    /// unchanged.
    ///
    /// Called for KAZOO's credentials probe, so that the administrator sees the error while saving the settings. The
    /// default implementation does nothing and succeeds.
    fn check(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
}

impl<S: BlobStore + ?Sized> BlobStore for Arc<S> {
    fn put(&self, upload: Upload) -> impl Future<Output = Result<PutResult>> + Send {
        S::put(self, upload)
    }

    fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> impl Future<Output = Result<GetResult>> + Send {
        S::get(self, key, range)
    }

    fn head(&self, key: &BlobKey) -> impl Future<Output = Result<BlobInfo>> + Send {
        S::head(self, key)
    }

    fn metadata(&self, key: &BlobKey) -> impl Future<Output = Result<Option<Metadata>>> + Send {
        S::metadata(self, key)
    }

    fn describe(&self, key: &BlobKey) -> impl Future<Output = Result<(BlobInfo, Option<Metadata>)>> + Send {
        S::describe(self, key)
    }

    fn check(&self) -> impl Future<Output = Result<()>> + Send {
        S::check(self)
    }
}
