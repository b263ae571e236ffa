//! [`DynBlobStore`] and [`DynBlobCatalog`]: stores whose type is chosen at run time.
//!
//! There is one erased type for each trait, so the compiler knows what an erased store can do. A single type would need
//! a `list` that fails at run time, and every wrapper in between could lose the catalog without notice.

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use futures_core::Stream;

use super::{BlobCatalog, BlobEntry, BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata};

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Any [`BlobStore`], chosen at run time. Cheap to clone; each call costs one allocation.
///
/// ```
/// use kazoo_storage::{BlobStore, MemoryStore, store::DynBlobStore};
///
/// let store: DynBlobStore = DynBlobStore::new(MemoryStore::new());
/// fn takes_a_store(_: impl BlobStore) {}
/// takes_a_store(store);
/// ```
#[derive(Clone)]
pub struct DynBlobStore(Arc<dyn ErasedStore>);

/// Any [`BlobCatalog`], chosen at run time: a [`DynBlobStore`] that can also list and delete.
///
/// ```
/// use kazoo_storage::{BlobCatalog, KazooStorage, MemoryStore, store::DynBlobCatalog};
///
/// let store = DynBlobCatalog::new(MemoryStore::new());
/// let service = KazooStorage::new(store.clone()).into_service();
/// fn takes_a_catalog(_: impl BlobCatalog) {}
/// takes_a_catalog(store);
/// # let _ = service;
/// ```
#[derive(Clone)]
pub struct DynBlobCatalog(Arc<dyn ErasedCatalog>);

impl DynBlobStore {
    /// Erases the type of `store`. An erased store is returned as it is, not wrapped again.
    pub fn new(store: impl BlobStore) -> Self {
        let any: &dyn Any = &store;
        if let Some(erased) = any.downcast_ref::<Self>() {
            return erased.clone();
        }
        if let Some(DynBlobCatalog(catalog)) = any.downcast_ref() {
            return Self(Arc::<dyn ErasedCatalog>::clone(catalog));
        }
        Self(Arc::new(store))
    }
}

impl DynBlobCatalog {
    /// Erases the type of `store`. An erased store is returned as it is, not wrapped again.
    pub fn new(store: impl BlobCatalog) -> Self {
        let any: &dyn Any = &store;
        any.downcast_ref::<Self>()
            .cloned()
            .unwrap_or_else(|| Self(Arc::new(store)))
    }
}

/// The dyn-compatible form of [`BlobStore`].
trait ErasedStore: Send + Sync {
    fn put(&self, upload: Upload) -> BoxFuture<'_, Result<PutResult>>;
    fn get<'a>(&'a self, key: &'a BlobKey, range: Option<ByteRange>) -> BoxFuture<'a, Result<GetResult>>;
    fn head<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<BlobInfo>>;
    fn metadata<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Option<Metadata>>>;
    fn describe<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<(BlobInfo, Option<Metadata>)>>;
    fn check(&self) -> BoxFuture<'_, Result<()>>;
}

/// The dyn-compatible form of [`BlobCatalog`].
trait ErasedCatalog: ErasedStore {
    fn list(&self, prefix: Option<&BlobKey>) -> BoxStream<Result<BlobEntry>>;
    fn delete<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<()>>;
}

impl<S: BlobStore> ErasedStore for S {
    fn put(&self, upload: Upload) -> BoxFuture<'_, Result<PutResult>> {
        Box::pin(BlobStore::put(self, upload))
    }

    fn get<'a>(&'a self, key: &'a BlobKey, range: Option<ByteRange>) -> BoxFuture<'a, Result<GetResult>> {
        Box::pin(BlobStore::get(self, key, range))
    }

    fn head<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<BlobInfo>> {
        Box::pin(BlobStore::head(self, key))
    }

    fn metadata<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<Option<Metadata>>> {
        Box::pin(BlobStore::metadata(self, key))
    }

    fn describe<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<(BlobInfo, Option<Metadata>)>> {
        Box::pin(BlobStore::describe(self, key))
    }

    fn check(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(BlobStore::check(self))
    }
}

impl<S: BlobCatalog> ErasedCatalog for S {
    fn list(&self, prefix: Option<&BlobKey>) -> BoxStream<Result<BlobEntry>> {
        Box::pin(BlobCatalog::list(self, prefix))
    }

    fn delete<'a>(&'a self, key: &'a BlobKey) -> BoxFuture<'a, Result<()>> {
        Box::pin(BlobCatalog::delete(self, key))
    }
}

macro_rules! impl_blob_store {
    ($($erased:ident)*) => { $(
        impl BlobStore for $erased {
            async fn put(&self, upload: Upload) -> Result<PutResult> {
                self.0.put(upload).await
            }

            async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
                self.0.get(key, range).await
            }

            async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
                self.0.head(key).await
            }

            async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
                self.0.metadata(key).await
            }

            async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
                self.0.describe(key).await
            }

            async fn check(&self) -> Result<()> {
                self.0.check().await
            }
        }

        impl fmt::Debug for $erased {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($erased)).finish_non_exhaustive()
            }
        }
    )* };
}

impl_blob_store!(DynBlobStore DynBlobCatalog);

impl BlobCatalog for DynBlobCatalog {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.0.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.0.delete(key).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn address<T: ?Sized>(store: &Arc<T>) -> *const () {
        Arc::as_ptr(store).cast()
    }

    #[test]
    fn never_wraps_an_erased_store_again() {
        let store = DynBlobStore::new(MemoryStore::new());
        assert_eq!(address(&DynBlobStore::new(store.clone()).0), address(&store.0));
        let catalog = DynBlobCatalog::new(MemoryStore::new());
        assert_eq!(address(&DynBlobCatalog::new(catalog.clone()).0), address(&catalog.0));
        assert_eq!(address(&DynBlobStore::new(catalog.clone()).0), address(&catalog.0));
    }
}
