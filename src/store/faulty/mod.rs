//! [`FaultyStore`]: a store that fails on request.

mod streams;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::BodyExt as _;

use self::streams::{Interrupted, Listing};
use super::{Blob, BlobCatalog, BlobEntry, BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload};
use crate::{
    body::Body,
    error::{Error, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// A store whose operations fail when a test asks for it, to test an application with a full, slow or broken store.
///
/// Clones share their faults, so a test can change them while a clone serves requests.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::BodyExt as _;
/// use kazoo_storage::{
///     Body, Error, ErrorKind, KazooStorage, MemoryStore,
///     store::{Fault, FaultyStore, Operation},
/// };
/// use tower::ServiceExt as _;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let store = FaultyStore::new(MemoryStore::new());
/// let storage = KazooStorage::new(store.clone()).into_service();
/// let upload = || Request::put("/ACCOUNT/DOCUMENT/message.mp3").body(Body::from("ID3…")).unwrap();
/// let fetch = || Request::get("/ACCOUNT/DOCUMENT/message.mp3").body(Body::empty()).unwrap();
///
/// store.inject([Operation::Put], Fault::Fail(Error::new(ErrorKind::StorageFull, "the disk is full")));
/// let refused = storage.clone().oneshot(upload()).await.unwrap();
/// assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
///
/// store.repair();
/// assert_eq!(storage.clone().oneshot(upload()).await.unwrap().status(), StatusCode::CREATED);
///
/// store.inject(Operation::ALL, Fault::Fail(Error::new(ErrorKind::Unavailable, "the disk is gone")));
/// let failed = storage.oneshot(fetch()).await.unwrap();
/// assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
/// assert_eq!(failed.headers()["retry-after"], "5");
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    faults: Arc<RwLock<HashMap<Operation, Fault>>>,
}

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`BlobStore::put`].
    Put,
    /// [`BlobStore::get`].
    Get,
    /// [`BlobStore::head`].
    Head,
    /// [`BlobStore::metadata`].
    Metadata,
    /// [`BlobStore::describe`].
    Describe,
    /// [`BlobStore::check`].
    Check,
    /// [`BlobCatalog::list`].
    List,
    /// [`BlobCatalog::delete`].
    Delete,
}

/// The way in which an operation of a [`FaultyStore`] fails.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Returns this error at once. An upload is not read, and not stored.
    Fail(Error),
    /// Fails at a byte of the file.
    ///
    /// `put` reads the upload up to this byte, or to its end if it is shorter, and returns the error without storing
    /// anything. `get` succeeds, and its body ends with the error instead of this byte; a range that ends before the
    /// byte is intact. Every other operation returns the error at once.
    FailAt {
        /// The offset of the byte in the file, from 0.
        offset: u64,
        /// The error.
        error: Error,
    },
    /// Waits this long, and succeeds. Requires tokio's timers. With [`Duration::MAX`], the operation never ends.
    Delay(Duration),
}

impl Operation {
    /// All operations.
    pub const ALL: [Self; 8] = [
        Self::Put,
        Self::Get,
        Self::Head,
        Self::Metadata,
        Self::Describe,
        Self::Check,
        Self::List,
        Self::Delete,
    ];
}

impl<S> FaultyStore<S> {
    /// Wraps `store`. Until a fault is [injected](Self::inject), every call is passed on unchanged.
    pub fn new(store: S) -> Self {
        Self {
            inner: store,
            faults: Arc::default(),
        }
    }

    /// Makes every later call of `operations` fail. Replaces an earlier fault of the same operation.
    pub fn inject(&self, operations: impl IntoIterator<Item = Operation>, fault: Fault) {
        let mut faults = self.faults.write().unwrap_or_else(PoisonError::into_inner);
        faults.extend(operations.into_iter().map(move |operation| (operation, fault.clone())));
    }

    /// Removes all faults. Operations that are running keep theirs.
    pub fn repair(&self) {
        self.faults.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn fault(&self, operation: Operation) -> Option<Fault> {
        let faults = self.faults.read().unwrap_or_else(PoisonError::into_inner);
        faults.get(&operation).cloned()
    }

    /// Fails or waits, if the operation has a fault.
    async fn pass(&self, operation: Operation) -> Result<()> {
        suffer(self.fault(operation)).await
    }
}

impl<S: BlobStore> BlobStore for FaultyStore<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        if let Some(Fault::FailAt { mut offset, error }) = self.fault(Operation::Put) {
            while offset > 0
                && let Some(frame) = upload.body.frame().await
            {
                let len = frame?.data_ref().map_or(0, Bytes::len);
                offset = offset.saturating_sub(len as u64);
            }
            return Err(error);
        }
        self.pass(Operation::Put).await?;
        self.inner.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let Some(Fault::FailAt { offset, error }) = self.fault(Operation::Get) else {
            self.pass(Operation::Get).await?;
            return self.inner.get(key, range).await;
        };
        Ok(match self.inner.get(key, range).await? {
            GetResult::Blob(Blob { info, range, body }) if offset < range.end => {
                let intact = offset.saturating_sub(range.start);
                let body = Body::new(Interrupted { body, intact, error });
                GetResult::Blob(Blob::partial(info, range, body))
            }
            fetched => fetched,
        })
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.pass(Operation::Head).await?;
        self.inner.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.pass(Operation::Metadata).await?;
        self.inner.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.pass(Operation::Describe).await?;
        self.inner.describe(key).await
    }

    async fn check(&self) -> Result<()> {
        self.pass(Operation::Check).await?;
        self.inner.check().await
    }
}

impl<S: BlobCatalog> BlobCatalog for FaultyStore<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        Listing {
            fault: Some(Box::pin(suffer(self.fault(Operation::List)))),
            entries: Some(self.inner.list(prefix)),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.pass(Operation::Delete).await?;
        self.inner.delete(key).await
    }
}

/// Fails or waits, as `fault` says.
async fn suffer(fault: Option<Fault>) -> Result<()> {
    match fault {
        None => Ok(()),
        Some(Fault::Fail(error) | Fault::FailAt { error, .. }) => Err(error),
        Some(Fault::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
