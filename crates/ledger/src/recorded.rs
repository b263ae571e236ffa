//! [`Recorded`]: a store whose changes are recorded in a ledger.

use std::sync::{Arc, OnceLock};

use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, Metadata, PutResult, Result, Upload,
    digest::Digest,
};

use crate::{
    continue_on_drop::ContinueOnDrop,
    event::{self, EventKind},
    file::FileRecord,
    holds::Committing,
    key_locks::{KeyGuard, KeyLocks},
    ledger::Ledger,
    protection::{Ended, Target, Verdict},
    record::unrecorded,
    uploads::Uploads,
};

/// A store that records each change in a [`Ledger`] before it returns.
///
/// `put` stores the file in `S`, then records it, and returns after both are durable. If its future is dropped after the end of the
/// body, a Tokio task stores and records the file before any later change of the key, and logs a failure. Everything else is passed
/// on to `S`.
///
/// If the ledger cannot record, `put` fails with [`ErrorKind::Unavailable`], although `S` has the file. The next `put` of the same
/// file records it; if KAZOO gives up before that, [`Ledger::reindex`] does, with [events](crate::Reindex::events_since). `delete`
/// behaves alike: call it again.
///
/// A file that a [hold](crate::holds) or the policy protects is neither deleted nor replaced: `delete` fails with
/// [`ErrorKind::Conflict`], and `put` of another file under its key succeeds, but stores it beside the protected one, as
/// `NAME~0123456789abcdef.EXT` with random digits. `put` of the same content, metadata and media type succeeds and changes
/// nothing, even if the file that matches is the one stored beside it.
///
/// Changes of one key are recorded in the order in which `S` made them, if all of them go through clones of one
/// `Recorded`. If two servers that share a ledger store *different* contents under one key at the same moment, they may
/// record them in the other order. KAZOO never causes that. While one of them removes a file, `put` of it through the other fails
/// with [`ErrorKind::Unavailable`].
#[derive(Debug)]
pub struct Recorded<S> {
    pub(crate) inner: Arc<S>,
    pub(crate) ledger: Ledger,
    pub(crate) locks: KeyLocks,
    pub(crate) uploads: Uploads,
    /// The server in the intents of removals. A removal holds the lock of its key, so an earlier intent of the same server is left from
    /// a failure.
    pub(crate) server: Arc<str>,
}

/// The end of the body of an upload.
///
/// The store commits after it, and so under the lock. The lock is not held while the body arrives: KAZOO may send a file
/// again while its first attempt hangs.
struct End {
    size: u64,
    digest: Digest,
    /// `None` if the same file is stored already, and protected.
    committing: Option<Committing>,
    /// The locks of the keys of the upload, held to the end of `put`.
    _guards: (Option<KeyGuard>, KeyGuard),
}

impl<S> Recorded<S> {
    /// Records the changes of `store` in `ledger`.
    pub fn new(store: S, ledger: Ledger) -> Self {
        Self {
            inner: Arc::new(store),
            ledger,
            locks: KeyLocks::default(),
            uploads: Uploads::default(),
            server: event::new_id().into(),
        }
    }
}

impl<S: BlobStore> Recorded<S> {
    /// Stores `upload`, whose body sets `end`, and records it as `file`.
    async fn store(&self, upload: Upload, file: FileRecord, end: &OnceLock<End>) -> Result<PutResult> {
        let result = self.inner.put(upload).await;
        let end = end.get();
        if end.is_some_and(|end| end.committing.is_none()) {
            return Ok(PutResult::Replaced);
        }
        let result = result?;
        let Some(end) = end else {
            let message = "the store has acknowledged an upload without reading its body to the end";
            return Err(Error::new(ErrorKind::Internal, message));
        };
        let file = file
            .ended(end.size, end.digest)
            .with_stored_at(self.ledger.stored_now());
        let recorded = self.ledger.record(&file).await.map_err(unrecorded)?;
        // The store had a file, and the ledger has none: another server may have removed this one from both since it was stored.
        if result == PutResult::Replaced && recorded == Some(EventKind::Stored) {
            match self.inner.head(&file.key).await {
                Err(error) if error.is_not_found() => {
                    let message = "the file was removed by another server while it was stored; send it again";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                // It exists, or the store could not tell and has acknowledged it.
                _ => {}
            }
        }
        Ok(result)
    }
}

impl<S> Clone for Recorded<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            ledger: self.ledger.clone(),
            locks: self.locks.clone(),
            uploads: self.uploads.clone(),
            server: Arc::clone(&self.server),
        }
    }
}

impl<S: BlobStore> BlobStore for Recorded<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        let running = self.uploads.begin();
        let target = Target::choose(&self.ledger, &self.inner, &mut upload).await?;
        let file = FileRecord::new(target.requested(), 0, upload.metadata.clone())
            .with_content_type(upload.content_type.as_ref())
            .with_key(target.key());
        let end = Arc::<OnceLock<End>>::default();
        upload.body = upload.body.at_end({
            let (end, this) = (Arc::clone(&end), self.clone());
            let (target, content_type, metadata) = (target.clone(), file.content_type.clone(), file.metadata.clone());
            async move |size, digest| {
                // Nobody waits for the lock of a sibling, which is new, while it holds another one.
                let sibling = match target.sibling() {
                    Some(sibling) => Some(this.locks.clone().lock(sibling.clone()).await),
                    None => None,
                };
                let guard = this.locks.lock(target.requested().clone()).await;
                let ended = Ended {
                    size,
                    digest,
                    content_type: content_type.as_deref(),
                    metadata: metadata.as_ref(),
                };
                let verdict = target.judge(&this.ledger, &this.inner, ended).await?;
                let committing = match verdict {
                    Verdict::Commit(committing) => Some(committing),
                    Verdict::AlreadyStored => None,
                };
                let is_stored = committing.is_none();
                let _ = end.set(End {
                    size,
                    digest,
                    committing,
                    _guards: (sibling, guard),
                });
                if is_stored {
                    // The store discards what it has read. `put` succeeds.
                    return Err(Error::new(ErrorKind::Conflict, "the file is already stored"));
                }
                Ok(())
            }
        });
        // The store may still commit after the client has disconnected. The locks are held until the file is recorded.
        let has_ended = {
            let end = Arc::clone(&end);
            move || end.get().is_some()
        };
        // Nobody receives a response, and the store may have a file that the ledger does not have.
        let report = move |result| {
            if let Err(error) = result {
                // The name may contain the id of a call.
                let (account, document) = (target.key().account_id(), target.key().document_id());
                tracing::warn!(account, document, %error, "an upload failed after its request was cancelled");
            }
        };
        let this = self.clone();
        let storing = async move {
            let _running = running;
            this.store(upload, file, &end).await
        };
        ContinueOnDrop::new(storing, has_ended, report).await
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

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.inner.describe(key).await
    }

    /// Checks the store, and that the ledger can record.
    async fn check(&self) -> Result<()> {
        self.inner.check().await?;
        self.ledger.check().await.map_err(unrecorded)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write as _},
        path::Path,
        pin::pin,
        sync::Mutex,
        task::{Context, Waker},
    };

    use http_body_util::BodyExt as _;
    use kazoo_storage::MemoryStore;
    use tokio::sync::Notify;
    use tracing::{
        Subscriber,
        field::Field,
        span::{Attributes, Id, Record},
    };

    use super::*;

    /// Commits an upload when the test allows it, also if the upload is dropped meanwhile: an object store has the request.
    #[derive(Clone, Default)]
    struct Gated {
        files: MemoryStore,
        has_read: Arc<Notify>,
        may_commit: Arc<Notify>,
    }

    impl BlobStore for Gated {
        async fn put(&self, upload: Upload) -> Result<PutResult> {
            let content = upload.body.collect().await?.to_bytes();
            let (this, key) = (self.clone(), upload.key);
            let commit = tokio::spawn(async move {
                this.has_read.notify_one();
                this.may_commit.notified().await;
                this.files.put(Upload::new(key, content)).await
            });
            commit.await.unwrap()
        }

        async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
            self.files.get(key, range).await
        }

        async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
            self.files.metadata(key).await
        }
    }

    /// Writes the records of the log of this thread to a text.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Subscriber for Log {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.is_event()
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            let mut log = self.0.lock().unwrap();
            log.push_str(event.metadata().level().as_str());
            event.record(&mut |field: &Field, value: &dyn Debug| write!(log, " {field}={value:?}").unwrap());
            log.push('\n');
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    fn key() -> BlobKey {
        BlobKey::from_path("account/document/file").unwrap()
    }

    /// Returns a store of `files` and its ledger, after an upload that was dropped when its body had ended.
    async fn dropped_upload(files: &Gated, directory: &Path) -> (Recorded<Gated>, Ledger) {
        let ledger = Ledger::sqlite(directory.join("ledger.sqlite")).await.unwrap();
        let store = Recorded::new(files.clone(), ledger.clone());
        let upload = tokio::spawn({
            let store = store.clone();
            async move { store.put(Upload::new(key(), "ID3")).await }
        });
        files.has_read.notified().await;
        upload.abort();
        assert!(upload.await.unwrap_err().is_cancelled());
        (store, ledger)
    }

    #[tokio::test]
    async fn an_upload_that_is_dropped_after_its_end_keeps_its_lock_until_it_is_recorded() {
        let (directory, files) = (tempfile::tempdir().unwrap(), Gated::default());
        let (store, ledger) = dropped_upload(&files, directory.path()).await;
        let mut next = pin!(store.locks.clone().lock(key()));
        assert!(next.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        files.may_commit.notify_one();
        drop(next.await);
        assert_eq!(store.head(&key()).await.unwrap().len, 3);
        assert_eq!(ledger.file(&key()).await.unwrap().unwrap().size, 3);
    }

    #[tokio::test]
    async fn logs_an_upload_that_was_dropped_and_is_not_recorded() {
        let (directory, files, log) = (tempfile::tempdir().unwrap(), Gated::default(), Log::default());
        let _logging = tracing::subscriber::set_default(log.clone());
        let (store, ledger) = dropped_upload(&files, directory.path()).await;
        ledger.shutdown().await;
        files.may_commit.notify_one();
        drop(store.locks.clone().lock(key()).await);
        assert_eq!(store.head(&key()).await.unwrap().len, 3);
        let log = log.0.lock().unwrap();
        let expected = "WARN message=an upload failed after its request was cancelled account=\"account\" document=\"document\" \
            error=the change cannot be recorded in the ledger: ";
        assert!(log.contains(expected), "{log}");
    }
}
