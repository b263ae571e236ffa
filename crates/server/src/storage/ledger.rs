//! Opens the ledger, and records in it the files of a store that is older.

use std::{
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    time::{Duration, Instant},
};

use kazoo_storage::{ErrorKind, store::DynBlobCatalog};
use kazoo_storage_ledger::{Ledger, Recorded, Reindex};
use tokio::time::sleep;

use crate::{
    config::{Invalid, LedgerConfig},
    log,
};

/// Interval between two searches for interrupted removals.
const REMOVALS: Duration = Duration::from_secs(60);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Time after which a reindex that has failed is tried again. It doubles with each failure, up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(60);

/// Maximum time after which a reindex that has failed is tried again. It lists the whole store.
const MAX_RETRY: Duration = Duration::from_secs(3600);

/// Interval between log records of a reindex.
const PROGRESS: Duration = Duration::from_secs(30);

/// Opens the ledger, if there is to be one.
pub(crate) async fn open(config: Option<&LedgerConfig>) -> Result<Option<Ledger>, BoxError> {
    let Some(config) = config else {
        tracing::warn!("no ledger: files cannot be searched, and no receiver learns of them; set --ledger to keep one");
        return Ok(None);
    };
    open_ledger(config).await.map(Some)
}

/// Opens the ledger. Creates the default directory for it.
pub(crate) async fn open_ledger(config: &LedgerConfig) -> Result<Ledger, BoxError> {
    let named = |error: &dyn std::fmt::Display| format!("--ledger {}: {error}", config.location);
    if let Some(directory) = &config.directory {
        // The content is about callers, as that of the files.
        match DirBuilder::new().mode(0o750).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(&error).into()),
            _ => {}
        }
    }
    let opened = Ledger::options().durable(config.durable).open(&config.location).await;
    opened.map_err(|error| {
        let message = named(&log::chain(&error));
        match error.kind() {
            // PostgreSQL may be down, and the disk full.
            ErrorKind::Unavailable => message.into(),
            _ => Invalid(message).into(),
        }
    })
}

/// Finishes the removals of files that a crash has interrupted: at once, and later those of other servers.
pub(crate) async fn finish_removals(store: Recorded<DynBlobCatalog>) {
    loop {
        match store.finish_removals().await {
            Ok(0) => {}
            Ok(files) => tracing::warn!(files, "finished removals of files that were interrupted"),
            Err(error) => tracing::error!(
                error = log::chain(&error),
                "removals of files that were interrupted cannot be finished; the server tries again every minute"
            ),
        }
        sleep(REMOVALS).await;
    }
}

/// Records the files of `store` that `ledger` does not have, unless an earlier run has done so. Returns when all are recorded.
pub(crate) async fn reindex(ledger: Ledger, store: DynBlobCatalog) {
    let mut delay = RETRY;
    while let Err(error) = try_reindex(&ledger, &store).await {
        if ledger.is_closed() {
            return;
        }
        tracing::error!(
            error = log::chain(&error),
            seconds = delay.as_secs(),
            "the reindex failed: older files are missing in the ledger; the server tries again after these seconds"
        );
        sleep(delay).await;
        delay = MAX_RETRY.min(delay * 2);
    }
}

async fn try_reindex(ledger: &Ledger, store: &DynBlobCatalog) -> kazoo_storage::Result<()> {
    if ledger.is_indexed().await? {
        return Ok(());
    }
    let mut logged = Instant::now();
    let progress = |done: kazoo_storage_ledger::Reindexed| {
        if logged.elapsed() >= PROGRESS {
            logged = Instant::now();
            tracing::info!(listed = done.listed, recorded = done.recorded, "reindexing");
        }
    };
    let done = ledger.reindex(store, Reindex::new(), progress).await?;
    tracing::info!(listed = done.listed, recorded = done.recorded, "reindexed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::Stream;
    use kazoo_storage::{
        BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, Error, GetResult, MemoryStore, Metadata, PutResult,
        Result, Upload, store::BlobEntry,
    };

    use super::*;

    /// A store that cannot describe a file for the first time.
    struct Failing(MemoryStore, AtomicBool);

    impl BlobStore for Failing {
        async fn put(&self, upload: Upload) -> Result<PutResult> {
            self.0.put(upload).await
        }

        async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
            self.0.get(key, range).await
        }

        async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
            self.0.metadata(key).await
        }

        async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
            if self.1.swap(false, Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Unavailable, "the disk is gone"));
            }
            self.0.describe(key).await
        }
    }

    impl BlobCatalog for Failing {
        fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
            self.0.list(prefix)
        }

        async fn delete(&self, key: &BlobKey) -> Result<()> {
            self.0.delete(key).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reindex_that_failed_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        let store = Failing(MemoryStore::new(), AtomicBool::new(true));
        let key = BlobKey::from_path("A/D/a").unwrap();
        store.put(Upload::new(key.clone(), "content")).await.unwrap();
        let store = DynBlobCatalog::new(store);
        reindex(ledger.clone(), store).await;
        assert!(ledger.is_indexed().await.unwrap());
        assert!(ledger.file(&key).await.unwrap().is_some());
    }
}
