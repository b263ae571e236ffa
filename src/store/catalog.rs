//! [`BlobCatalog`]: listing and deletion.

use std::{future::Future, sync::Arc, time::SystemTime};

use futures_core::Stream;

use super::BlobStore;
use crate::{error::Result, key::BlobKey};

/// A [`BlobStore`] that can also list and delete its files.
///
/// KAZOO never lists or deletes: a file stays until its operator removes it.
///
/// ```
/// use kazoo_storage::{BlobKey, BlobStore, MemoryStore, Upload, store::BlobCatalog};
/// # use std::{future::poll_fn, pin::pin};
/// # use futures_core::Stream;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = MemoryStore::new();
/// let key = BlobKey::from_path("ACCOUNT/202401-DOCUMENT/message.mp3")?;
/// store.put(Upload::new(key.clone(), "ID3…")).await?;
///
/// let account = BlobKey::from_path("ACCOUNT")?;
/// let mut entries = pin!(store.list(Some(&account)));
/// let entry = poll_fn(|cx| entries.as_mut().poll_next(cx)).await.unwrap()?;
/// assert_eq!((entry.key, entry.len), (key.clone(), 6));
///
/// store.delete(&key).await?;
/// assert!(store.head(&key).await.unwrap_err().is_not_found());
/// # Ok::<(), kazoo_storage::Error>(())
/// # }).unwrap();
/// ```
pub trait BlobCatalog: BlobStore {
    /// Lists every file whose key begins with all segments of `prefix` and has more, or all files if there is no
    /// prefix.
    ///
    /// The stream owns what it needs, so it can outlive the call and move to another task. The order is unspecified. A
    /// file that is stored or deleted during the listing may be missing. The stream ends after its first error.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static;

    /// Removes the file under `key` with its metadata. Succeeds if there is none.
    ///
    /// The body of a fetch that began earlier returns the file to its end, or ends with an error.
    fn delete(&self, key: &BlobKey) -> impl Future<Output = Result<()>> + Send;
}

impl<S: BlobCatalog + ?Sized> BlobCatalog for Arc<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        S::list(self, prefix)
    }

    fn delete(&self, key: &BlobKey) -> impl Future<Output = Result<()>> + Send {
        S::delete(self, key)
    }
}

/// One file of a [listing](BlobCatalog::list). [`head`](BlobStore::head) returns the rest of its description.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobEntry {
    /// The key of the file.
    pub key: BlobKey,
    /// The length of the file, in bytes.
    ///
    /// A store that keeps long metadata after the content, as `ObjectStoreBlobs` does, counts it too: its listing
    /// cannot tell the two apart. [`BlobInfo::len`](super::BlobInfo::len) is always the content alone.
    pub len: u64,
    /// The time at which the file was stored.
    pub modified: Option<SystemTime>,
}

impl BlobEntry {
    /// Describes a file of `len` bytes under `key`.
    #[must_use]
    pub fn new(key: BlobKey, len: u64) -> Self {
        Self {
            key,
            len,
            modified: None,
        }
    }

    /// Sets or clears the time at which the file was stored.
    #[must_use]
    pub fn with_modified(mut self, modified: impl Into<Option<SystemTime>>) -> Self {
        self.modified = modified.into();
        self
    }
}

/// Returns `true` if `key` begins with all segments of `prefix` and has more.
pub(super) fn is_beneath(key: &BlobKey, prefix: &BlobKey) -> bool {
    let (len, above) = (key.segments().len(), prefix.segments().len());
    len > above && key.segments().take(above).eq(prefix.segments())
}
