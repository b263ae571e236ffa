//! The `reindex` command: records the files of a store in its ledger.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    process::ExitCode,
    time::SystemTime,
};

use kazoo_storage::BlobKey;
use kazoo_storage_ledger::{Reindex, Reindexed};
use tokio::select;

use crate::{
    cli::{Location, ReindexOptions},
    config,
    printable::complain,
    progress::Progress,
    signals::Signals,
    storage::{ledger, store},
};

/// Shows the progress on stderr, and prints the totals on stdout.
pub(crate) fn run(options: ReindexOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let ledger = config::ledger(options.ledger, &options.store)
        .ok_or("nothing to record in: set --ledger sqlite:PATH to the ledger of the store")?;
    if let Location::Directory(root) = &options.store.store
        && !root.exists()
    {
        // Opening it would create it.
        return Err(format!("--store {}: there is no such directory", root.display()).into());
    }
    let store = config::store(options.store)?;
    let mut reindex = Reindex::new();
    if let Some(name) = &options.beneath {
        reindex = reindex.below(BlobKey::from_path(name)?);
    }
    if options.events {
        reindex = reindex.events_since(options.since.unwrap_or(SystemTime::UNIX_EPOCH));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut progress, mut last) = (Progress::new(), None);
    let done: Result<_, Box<dyn StdError + Send + Sync>> = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let reindexing = async {
            let store = store::open(&store).await?;
            let ledger = ledger::open_ledger(&ledger).await?;
            let seen = |done: Reindexed| {
                last = Some(done);
                progress.show(|| line(done));
            };
            let done = ledger.reindex(&store, reindex, seen).await?;
            Ok::<_, Box<dyn StdError + Send + Sync>>(done)
        };
        select! {
            // Work that has ended is reported so.
            biased;
            done = reindexing => done.map(Ok),
            status = signals.received() => Ok(Err(status)),
        }
    });
    progress.clear();
    let done = match done? {
        Ok(done) => done,
        Err(status) => {
            let done = last.map_or_else(|| "0 files".to_owned(), line);
            complain(&format!("interrupted after {done}; to continue, run the command again"));
            return Ok(status);
        }
    };
    writeln!(io::stdout(), "{}", line(done))?;
    Ok(ExitCode::SUCCESS)
}

fn line(done: Reindexed) -> String {
    format!("{} files, {} recorded", done.listed, done.recorded)
}
