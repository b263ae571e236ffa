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

/// Records the files of `store` that `ledger` does not have, unless an earlier run has done so.
pub(crate) async fn reindex(ledger: Ledger, store: DynBlobCatalog) {
    match ledger.is_indexed().await {
        Ok(true) => return,
        Ok(false) => {}
        Err(error) => return tracing::error!(error = log::chain(&error), "the ledger cannot be read"),
    }
    let mut logged = Instant::now();
    let progress = |done: kazoo_storage_ledger::Reindexed| {
        if logged.elapsed() >= PROGRESS {
            logged = Instant::now();
            tracing::info!(listed = done.listed, recorded = done.recorded, "reindexing");
        }
    };
    match ledger.reindex(&store, Reindex::new(), progress).await {
        Ok(done) => tracing::info!(listed = done.listed, recorded = done.recorded, "reindexed"),
        Err(error) => tracing::error!(
            error = log::chain(&error),
            "the reindex failed: older files are missing in the ledger; the next start tries again"
        ),
    }
}
