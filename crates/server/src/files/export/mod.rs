//! `files export`: copies files of a running server, each compared with its digest.
//!
//! [`list`] fetches the list of files, [`batches`] fetches several files at once, and [`download`] fetches the content of each. The
//! files go to a [`directory`], or to a [`zip`] file that [`archive`] writes, under the [`name`] that their key becomes.

mod archive;
mod background;
mod batches;
mod directory;
mod download;
mod list;
mod name;
mod scratch;
mod zip;

use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use tokio::{
    select,
    time::{MissedTickBehavior, interval},
};

use self::{
    batches::{Batches, Outcome, Source},
    directory::Directory,
    download::Fetched,
    list::List,
    scratch::Scratch,
    zip::Zip,
};
use super::list::parameters;
use crate::{
    admin_client::{AdminClient, values::query},
    cli::ExportFilesOptions,
    confirmation::UNCONFIRMED,
    printable::{complain, print},
    progress::Progress,
    signals::Signals,
};

/// Interval between the times at which a directory gets the files that were fetched.
const SAVE: Duration = Duration::from_secs(5);

/// The file with the keys, paths and metadata.
const MANIFEST: &str = "manifest.jsonl";

/// The file for `sha256sum -c`.
const SUMS: &str = "SHA256SUMS";

/// The destination of an export.
enum Target {
    Directory(Directory),
    Zip(Zip),
}

/// The end of the fetches.
enum Received {
    All([Output; 2], Tally),
    /// A signal has ended them. The command exits with this status.
    Signal(ExitCode, Tally),
}

/// The totals of an export.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    kept: u64,
    failed: u64,
}

pub(super) async fn files(client: AdminClient, options: &ExportFilesOptions) -> Result<ExitCode, String> {
    let is_zip = options
        .to
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("zip"));
    if is_zip && options.to.symlink_metadata().is_ok() {
        complain(&format!(
            "{} exists; remove it, or export to another file",
            options.to.display()
        ));
        return Ok(ExitCode::from(UNCONFIRMED));
    }
    let signals = Signals::new()?;
    let target = if is_zip {
        Target::Zip(Zip::create(&options.to)?)
    } else {
        Target::Directory(Directory::open(&options.to)?)
    };
    let parameters = query(&parameters(&options.selection));
    export(client, &parameters, target, signals).await
}

/// Exports the files. If it is interrupted, a directory keeps those that were fetched.
async fn export(
    client: AdminClient,
    parameters: &str,
    mut target: Target,
    mut signals: Signals,
) -> Result<ExitCode, String> {
    let path = target.scratch().file("list");
    let list = select! {
        list = List::fetch(&client, parameters, &path) => list?,
        status = signals.received() => {
            complain("interrupted before the first file; run the command again");
            return Ok(status);
        }
    };
    let (outputs, tally) = match receive(client, &list, &mut target, &mut signals).await {
        Ok(Received::All(outputs, tally)) => (outputs, tally),
        Ok(Received::Signal(status, tally)) => {
            target.save().await?;
            complain(&target.interrupted(tally.files, list.files));
            return Ok(status);
        }
        Err(error) => {
            target.save().await?;
            return Err(error);
        }
    };
    target.finish(outputs).await?;
    print(&tally.line())?;
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Gets the files of `list` into `target`.
async fn receive(
    client: AdminClient,
    list: &List,
    target: &mut Target,
    signals: &mut Signals,
) -> Result<Received, String> {
    let scratch = Arc::clone(target.scratch());
    let source = Source {
        client,
        root: target.root(),
        scratch: Arc::clone(&scratch),
    };
    let mut outcomes = Batches::new(list.entries()?, source);
    let (mut manifest, mut sums) = (Output::new(&scratch, MANIFEST)?, Output::new(&scratch, SUMS)?);
    let (mut texts, mut tally, mut progress) = (list.texts()?, Tally::default(), Progress::new());
    let mut saves = interval(SAVE);
    saves.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // What is being saved is not interrupted.
        let outcome = select! {
            outcome = outcomes.next() => outcome,
            status = signals.received() => {
                progress.clear();
                return Ok(Received::Signal(status, tally));
            }
            _ = saves.tick() => {
                target.start_save().await?;
                continue;
            }
        };
        let Some(outcome) = outcome else { break };
        let (entry, outcome) = outcome?;
        let digest = match outcome {
            Outcome::Kept(digest) => {
                tally.kept += 1;
                digest
            }
            Outcome::Fetched(fetched) => {
                let digest = fetched.digest;
                target.add(&entry.path, fetched).await?;
                digest
            }
            Outcome::Failed(why) => {
                tally.failed += 1;
                texts.skip()?;
                progress.clear();
                complain(&format!("{}: {why}", entry.key));
                continue;
            }
        };
        manifest.line(&texts.next(digest)?)?;
        sums.line(&format!("{digest}  {}", entry.path))?;
        tally.files += 1;
        tally.bytes += entry.size;
        progress.show(|| format!("{} of {}", tally.line(), list.files));
    }
    progress.clear();
    Ok(Received::All([manifest, sums], tally))
}

impl Tally {
    fn line(&self) -> String {
        let Self {
            files,
            bytes,
            kept,
            failed,
        } = self;
        let mib = bytes / (1 << 20);
        format!("{files} files, {mib} MiB, {kept} of them from an earlier export, {failed} failed")
    }
}

impl Target {
    /// Returns the directory for temporary files.
    fn scratch(&self) -> &Arc<Scratch> {
        match self {
            Self::Directory(directory) => directory.scratch(),
            Self::Zip(zip) => zip.scratch(),
        }
    }

    /// Returns the directory that may have files of an earlier export.
    fn root(&self) -> Option<PathBuf> {
        match self {
            Self::Directory(directory) => Some(directory.root().to_owned()),
            Self::Zip(_) => None,
        }
    }

    async fn add(&mut self, path: &str, fetched: Fetched) -> Result<(), String> {
        match self {
            Self::Directory(directory) => directory.add(path, fetched).await,
            Self::Zip(zip) => zip.add(path, fetched).await,
        }
    }

    /// Starts to move the files that were added to their paths in a directory. A ZIP file appears only when it is complete.
    async fn start_save(&mut self) -> Result<(), String> {
        match self {
            Self::Directory(directory) => directory.start_save().await,
            Self::Zip(_) => Ok(()),
        }
    }

    /// Moves the files that were added to their paths in a directory.
    async fn save(&mut self) -> Result<(), String> {
        match self {
            Self::Directory(directory) => directory.save().await,
            Self::Zip(_) => Ok(()),
        }
    }

    /// Returns the message of an export that was interrupted after some of the files.
    fn interrupted(&self, files: u64, all: u64) -> String {
        match self {
            Self::Directory(directory) => format!(
                "interrupted: {files} of {all} files are complete in {}, without {MANIFEST} and {SUMS}; to continue, run the \
                 command again",
                directory.root().display()
            ),
            Self::Zip(_) => {
                "interrupted: nothing was exported, because a ZIP file appears only when it is complete; to be able to \
                             continue, export to a directory"
                    .to_owned()
            }
        }
    }

    async fn finish(self, outputs: [Output; 2]) -> Result<(), String> {
        match self {
            Self::Directory(directory) => directory.finish(outputs).await,
            Self::Zip(zip) => zip.finish(outputs).await,
        }
    }
}

/// A text file that is written line by line.
struct Output {
    name: &'static str,
    path: PathBuf,
    file: BufWriter<File>,
}

impl Output {
    fn new(scratch: &Scratch, name: &'static str) -> Result<Self, String> {
        let path = scratch.file(name);
        let file = create(&path)?;
        Ok(Self {
            name,
            path,
            file: BufWriter::new(file),
        })
    }

    fn line(&mut self, text: &str) -> Result<(), String> {
        let written = writeln!(self.file, "{text}");
        written.map_err(|error| cannot_write(&self.path, &error))
    }

    /// Writes the rest out, and returns the path.
    fn end(mut self) -> Result<PathBuf, String> {
        let ended = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        ended.map_err(|error| cannot_write(&self.path, &error))?;
        Ok(self.path)
    }
}

/// Creates an empty file that only its owner can read.
fn create(path: &Path) -> Result<File, String> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// Runs `work` on a blocking thread.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?
}
