//! The `reindex` command: records the files of a store in its ledger.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    process::ExitCode,
    time::SystemTime,
};

use kazoo_storage::BlobKey;
use kazoo_storage_ledger::{Reindex, Reindexed};

use crate::{
    cli::ReindexOptions,
    config,
    progress::Progress,
    storage::{ledger, store},
};

/// Shows the progress on stderr, and prints the totals on stdout.
pub(crate) fn run(options: ReindexOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let ledger = config::ledger(options.ledger, &options.store)
        .ok_or("nothing to record in: set --ledger sqlite:PATH to the ledger of the store")?;
    let store = config::store(options.store)?;
    let mut reindex = Reindex::new();
    if let Some(name) = &options.beneath {
        reindex = reindex.below(BlobKey::from_path(name)?);
    }
    if options.events {
        reindex = reindex.events_since(options.since.unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut progress = Progress::new();
    let done = runtime.block_on(async {
        let store = store::open(&store).await?;
        let ledger = ledger::open_ledger(&ledger).await?;
        let done = ledger
            .reindex(&store, reindex, |done| progress.show(|| line(done)))
            .await;
        Ok::<_, Box<dyn StdError + Send + Sync>>(done?)
    })?;
    progress.clear();
    writeln!(io::stdout(), "{}", line(done))?;
    Ok(ExitCode::SUCCESS)
}

fn line(done: Reindexed) -> String {
    format!("{} files, {} recorded", done.listed, done.recorded)
}
