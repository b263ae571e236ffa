//! The dyn twin of [`BlobStore`].

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use super::{BlobInfo, BlobStore, ByteRange, Fetched, Stored, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any [`BlobStore`], chosen at run time. Cheap to clone; each call costs one allocation.
///
/// ```
/// use kazoo_storage::{BlobStore, DynBlobStore, MemoryStore};
///
/// let store: DynBlobStore = DynBlobStore::new(MemoryStore::new());
/// fn takes_a_store(_: impl BlobStore) {}
/// takes_a_store(store);
/// ```
#[derive(Clone)]
pub struct DynBlobStore(Arc<dyn Erased>);

impl DynBlobStore {
    /// Hides the type of `store`.
    pub fn new(store: impl BlobStore) -> Self {
        Self(Arc::new(store))
    }
}

impl fmt::Debug for DynBlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynBlobStore").finish_non_exhaustive()
    }
}

trait Erased: Send + Sync {
    fn put(&self, upload: Upload) -> BoxFuture<'_, Result<Stored>>;
    fn get<'a>(&'a self, key: &'a BlobKey, range: Option<ByteRange>) -> BoxFuture<'a, Result<Fetched>>;
    fn head<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<BlobInfo>>;
    fn metadata<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Option<Metadata>>>;
    fn check(&self) -> BoxFuture<'_, Result<()>>;
}

impl<S: BlobStore> Erased for S {
    fn put(&self, upload: Upload) -> BoxFuture<'_, Result<Stored>> {
        Box::pin(BlobStore::put(self, upload))
    }

    fn get<'a>(&'a self, key: &'a BlobKey, range: Option<ByteRange>) -> BoxFuture<'a, Result<Fetched>> {
        Box::pin(BlobStore::get(self, key, range))
    }

    fn head<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<BlobInfo>> {
        Box::pin(BlobStore::head(self, key))
    }

    fn metadata<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Option<Metadata>>> {
        Box::pin(BlobStore::metadata(self, key))
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(BlobStore::check(self))
    }
}

impl BlobStore for DynBlobStore {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        self.0.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.0.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}
