//! [`Recorded`]: a store whose changes are recorded in a ledger.

use std::sync::{Arc, OnceLock};

use futures_core::Stream;
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, Metadata, PutResult, Result,
    Upload, digest::Digest, store::BlobEntry,
};

use crate::{
    file::FileRecord,
    key_locks::{KeyGuard, KeyLocks},
    ledger::Ledger,
};

/// A store that records each change in a [`Ledger`] before it returns.
///
/// `put` stores the file in `S`, then records it, and returns after both are durable. If the ledger cannot record, `put`
/// fails with [`ErrorKind::Unavailable`], although `S` has the file. The next `put` of the same file records it; if KAZOO
/// gives up before that, [`Ledger::reindex`] does, with [events](crate::Reindex::events_since). `delete` behaves alike: call
/// it again. Everything else is passed on to `S`.
///
/// Changes of one key are recorded in the order in which `S` made them, if all of them go through clones of one
/// `Recorded`. If two servers that share a ledger store *different* contents under one key at the same moment, they may
/// record them in the other order. KAZOO never causes that.
#[derive(Clone, Debug)]
pub struct Recorded<S> {
    inner: S,
    ledger: Ledger,
    locks: KeyLocks,
}

/// The end of the body of an upload.
///
/// The store commits after it, and so under the lock. The lock is not held while the body arrives: KAZOO may send a file
/// again while its first attempt hangs.
struct End {
    size: u64,
    digest: Digest,
    /// Held to the end of `put`.
    _guard: KeyGuard,
}

impl<S> Recorded<S> {
    /// Records the changes of `store` in `ledger`.
    pub fn new(store: S, ledger: Ledger) -> Self {
        Self {
            inner: store,
            ledger,
            locks: KeyLocks::default(),
        }
    }
}

impl<S: BlobStore> BlobStore for Recorded<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        let key = upload.key.clone();
        let (content_type, metadata) = (upload.content_type.clone(), upload.metadata.clone());
        let end = Arc::<OnceLock<End>>::default();
        upload.body = upload.body.at_end({
            let (end, locks, key) = (Arc::clone(&end), self.locks.clone(), key.detached());
            async move |size, digest| {
                let guard = locks.lock(key).await;
                let _ = end.set(End {
                    size,
                    digest,
                    _guard: guard,
                });
            }
        });
        let result = self.inner.put(upload).await?;
        let Some(end) = end.get() else {
            let message = "the store has acknowledged an upload without reading its body to the end";
            return Err(Error::new(ErrorKind::Internal, message));
        };
        let file = FileRecord::new(&key, end.size, metadata)
            .with_sha256(end.digest)
            .with_content_type(content_type.as_ref());
        self.ledger.record(&file).await.map_err(unrecorded)?;
        Ok(result)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.inner.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }

    /// Checks the store, and that the ledger can record.
    async fn check(&self) -> Result<()> {
        self.inner.check().await?;
        self.ledger.check().await.map_err(unrecorded)
    }
}

impl<S: BlobCatalog> BlobCatalog for Recorded<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let _guard = self.locks.clone().lock(key.detached()).await;
        self.inner.delete(key).await?;
        // If an earlier attempt failed here, the file is gone and the ledger still has it.
        self.ledger.record_deletion(key).await.map_err(unrecorded)?;
        Ok(())
    }
}

/// The client must send the request again, whatever the reason.
fn unrecorded(error: Error) -> Error {
    let message = format!("the change cannot be recorded in the ledger: {}", error.message());
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}
