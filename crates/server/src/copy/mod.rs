//! The `copy` command: copies the files of a store to another one.

mod overlap;
mod transfer;

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    pin::pin,
    process::ExitCode,
};

use futures_util::TryStreamExt as _;
use kazoo_storage::{BlobCatalog as _, BlobStore as _, Error, MemoryStore, store::DynBlobCatalog};
use tokio::select;

use self::transfer::{Outcome, Transfer};
use crate::{
    cli::{CopyOptions, Location},
    config, log,
    printable::complain,
    progress::Progress,
    signals::Signals,
    storage::store,
};

/// Number of files that are copied at once. An object store answers after milliseconds.
const CONCURRENT: usize = 16;

/// The totals of a copy.
#[derive(Default)]
struct Tally {
    is_dry_run: bool,
    copied: u64,
    replaced: u64,
    skipped: u64,
    failed: u64,
    bytes: u64,
}

/// Shows the progress and the failures on stderr, and prints the totals on stdout.
pub(crate) fn run(options: &CopyOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut tally = Tally {
        is_dry_run: options.dry_run,
        ..Tally::default()
    };
    let interrupted = runtime.block_on(async {
        let mut signals = Signals::new()?;
        let copied: Result<_, Box<dyn StdError + Send + Sync>> = select! {
            // Work that has ended is reported so.
            biased;
            copied = copy(options, &mut tally) => copied.map(|()| None),
            status = signals.received() => Ok(Some(status)),
        };
        copied
    });
    Progress::new().clear();
    if let Some(status) = interrupted? {
        let done = tally.line();
        complain(&format!("interrupted after {done}; to continue, run the command again"));
        return Ok(status);
    }
    writeln!(io::stdout(), "{}", tally.line())?;
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn copy(options: &CopyOptions, tally: &mut Tally) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let (mut from, to) = (options.store(&options.from), options.store(&options.to));
    // Otherwise the store would ignore the sidecar of a file that was changed or touched: the copy would have no metadata, and the
    // digest of the damaged content.
    from.verify_on_read = matches!(options.from, Location::Directory(_));
    let (from, to) = (config::store(from)?, config::store(to)?);
    let named = |location: &Location, error: String| format!("{location}: {error}");
    if is_missing(&options.from) {
        return Err(named(&options.from, "there is no such directory".to_owned()).into());
    }
    overlap::refuse(&options.from, &options.to)?;
    let from = store::open_unchecked(&from).map_err(|error| named(&options.from, error))?;
    let to = if options.dry_run && is_missing(&options.to) {
        // As if the directory had been created.
        DynBlobCatalog::new(MemoryStore::new())
    } else {
        let store = store::open_unchecked(&to).map_err(|error| named(&options.to, error))?;
        if !options.dry_run {
            let checked = store.check().await;
            checked.map_err(|error| named(&options.to, log::chain(&error)))?;
        }
        store
    };
    let transfer = Transfer {
        from,
        to,
        verify: options.verify,
        replace: options.replace,
        dry_run: options.dry_run,
    };
    files(&transfer, tally).await
}

/// Copies the files, and adds each to `tally`.
async fn files(transfer: &Transfer, tally: &mut Tally) -> Result<(), Box<dyn StdError + Send + Sync>> {
    let mut progress = Progress::new();
    let outcomes = transfer
        .from
        .list(None)
        .map_ok(|entry| async move {
            let outcome = transfer.file(&entry.key).await;
            Ok::<_, Error>((entry, outcome))
        })
        .try_buffer_unordered(CONCURRENT);
    let mut outcomes = pin!(outcomes);
    while let Some((entry, outcome)) = outcomes.try_next().await? {
        match outcome {
            Ok(Outcome::Copied { len, is_replacement }) => {
                tally.copied += 1;
                tally.replaced += u64::from(is_replacement);
                tally.bytes += len;
            }
            Ok(Outcome::Skipped) => tally.skipped += 1,
            // It was removed since it was listed.
            Ok(Outcome::Gone) => {}
            Err(error) => {
                tally.failed += 1;
                progress.clear();
                complain(&format!("{}: {}", entry.key, log::chain(&error)));
            }
        }
        progress.show(|| tally.line());
    }
    Ok(())
}

/// Returns `true` if `location` is a directory that does not exist. Opening it would create it.
fn is_missing(location: &Location) -> bool {
    matches!(location, Location::Directory(root) if !root.exists())
}

impl Tally {
    fn line(&self) -> String {
        let Self {
            is_dry_run,
            copied,
            replaced,
            skipped,
            failed,
            bytes,
        } = self;
        let verb = if *is_dry_run { "to copy" } else { "copied" };
        let mib = bytes / (1 << 20);
        format!(
            "{copied} files {verb}, {mib} MiB, {replaced} of them replaced; {skipped} already there, {failed} failed"
        )
    }
}
