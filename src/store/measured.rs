//! [`MeasuredStore`]: a store whose failures are counted.

use super::{BlobInfo, BlobStore, ByteRange, Fetched, Stored, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata, metrics::store_failed};

/// Counts what the store in it fails to do by its own fault: errors that are answered with a 5xx.
///
/// See the [module](crate::metrics).
#[derive(Clone, Debug)]
pub struct MeasuredStore<S>(S);

impl<S: BlobStore> MeasuredStore<S> {
    /// Counts the failures of `store`.
    pub fn new(store: S) -> Self {
        Self(store)
    }
}

impl<S: BlobStore> BlobStore for MeasuredStore<S> {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        counted("put", self.0.put(upload).await)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        counted("get", self.0.get(key, range).await)
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        counted("head", self.0.head(key).await)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        counted("metadata", self.0.metadata(key).await)
    }

    async fn check(&self) -> Result<()> {
        counted("check", self.0.check().await)
    }
}

fn counted<T>(operation: &'static str, result: Result<T>) -> Result<T> {
    result.inspect_err(|error| store_failed(operation, error.kind()))
}
