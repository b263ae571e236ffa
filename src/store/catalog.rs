//! [`BlobCatalog`]: what an operator needs of a store and KAZOO never asks.

use std::{future::Future, sync::Arc, time::SystemTime};

use futures_core::Stream;

use super::BlobStore;
use crate::{error::Result, key::BlobKey};

/// A store that says what it holds, and lets go of it. KAZOO sends no DELETE: what is stored stays until its operator
/// removes it.
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
/// assert_eq!(entry.key, key);
///
/// store.delete(&key).await?;
/// assert!(store.head(&key).await.unwrap_err().is_not_found());
/// # Ok::<(), kazoo_storage::Error>(())
/// # }).unwrap();
/// ```
pub trait BlobCatalog: BlobStore {
    /// Every file beneath `prefix`, or every file: those whose key has the segments of `prefix` before its own, in no
    /// particular order.
    ///
    /// A file that is stored or deleted meanwhile may be among them or not. The first error ends the stream.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send;

    /// Removes the file under `key` with its metadata; from `Ok` on, nothing is stored there. It is no error if nothing
    /// was.
    ///
    /// A reader that has begun before reads the file to its end, or its body ends with an error.
    fn delete(&self, key: &BlobKey) -> impl Future<Output = Result<()>> + Send;
}

impl<S: BlobCatalog + ?Sized> BlobCatalog for Arc<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send {
        S::list(self, prefix)
    }

    fn delete(&self, key: &BlobKey) -> impl Future<Output = Result<()>> + Send {
        S::delete(self, key)
    }
}

/// One file of a [catalog](BlobCatalog). [`head`](BlobStore::head) says more about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlobEntry {
    /// The name it is stored under.
    pub key: BlobKey,
    /// When it was stored.
    pub modified: Option<SystemTime>,
}

impl BlobEntry {
    /// The file under `key`, with nothing else known about it.
    #[must_use]
    pub fn new(key: BlobKey) -> Self {
        Self { key, modified: None }
    }
}

/// Whether `key` has the segments of `prefix` before its own.
pub(super) fn is_beneath(key: &BlobKey, prefix: &BlobKey) -> bool {
    let (len, above) = (key.segments().len(), prefix.segments().len());
    len > above && key.segments().take(above).eq(prefix.segments())
}
