//! [`MeasuredStore`]: counts the failures of a store.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use pin_project::pin_project;

use super::{BlobCatalog, BlobEntry, BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload};
use crate::{error::Result, key::BlobKey, metadata::Metadata, metrics::store_failed};

/// Counts the errors of a store that are the store's own fault: those that are answered with a 5xx.
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
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        counted("put", self.0.put(upload).await)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        counted("get", self.0.get(key, range).await)
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        counted("head", self.0.head(key).await)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        counted("metadata", self.0.metadata(key).await)
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        counted("describe", self.0.describe(key).await)
    }

    async fn check(&self) -> Result<()> {
        counted("check", self.0.check().await)
    }
}

impl<S: BlobCatalog> BlobCatalog for MeasuredStore<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        Listing(self.0.list(prefix))
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        counted("delete", self.0.delete(key).await)
    }
}

#[pin_project]
struct Listing<L>(#[pin] L);

impl<L: Stream<Item = Result<BlobEntry>>> Stream for Listing<L> {
    type Item = Result<BlobEntry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.project().0.poll_next(cx);
        next.map(|entry| entry.map(|entry| counted("list", entry)))
    }
}

fn counted<T>(operation: &'static str, result: Result<T>) -> Result<T> {
    result.inspect_err(|error| store_failed(operation, error.kind()))
}
