//! The `scrub` command: reads every stored file and compares it with its digest.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    mem,
    num::NonZeroU64,
    process::ExitCode,
};

use kazoo_storage::{
    BlobKey,
    store::{FsScrub, Scrubbed, Verdict},
};

use crate::{
    cli::{Location, ScrubOptions, Size},
    printable::printable,
    progress::Progress,
};

/// Exit status if a file is damaged.
const DAMAGED: u8 = 2;

/// The totals of a scrub.
#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    damaged: u64,
    unverifiable: u64,
}

impl Tally {
    fn count(&mut self, file: &Scrubbed) {
        self.files += 1;
        self.bytes += file.len;
        match file.verdict {
            Verdict::Intact => {}
            Verdict::Unverifiable => self.unverifiable += 1,
            _ => self.damaged += 1,
        }
    }

    fn line(&self) -> String {
        let Self {
            files,
            bytes,
            damaged,
            unverifiable,
        } = self;
        let mib = bytes / (1 << 20);
        format!("{files} files, {mib} MiB: {damaged} damaged, {unverifiable} without a digest")
    }
}

/// Prints damaged files on stdout, and the progress on stderr.
pub(crate) fn run(options: &ScrubOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let Location::Directory(root) = &options.store else {
        let message = "is not a directory: an object store verifies its objects itself";
        return Err(format!("--store {} {message}", options.store).into());
    };
    let Size(rate) = options.rate;
    let mut scrub = FsScrub::new(root).quarantine(options.quarantine);
    if let Some(rate) = NonZeroU64::new(rate) {
        scrub = scrub.rate(rate);
    }
    if let Some(name) = &options.beneath {
        scrub = scrub.prefix(BlobKey::from_path(name)?);
    }
    let (mut report, mut progress) = (io::stdout().lock(), Progress::new());
    let mut tally = Tally::default();
    // The quarantine continues even if the report cannot be written.
    let mut written = Ok(());
    scrub.run(|file| {
        tally.count(file);
        if let Verdict::Damaged(damage) = &file.verdict {
            progress.clear();
            let line = writeln!(report, "{}", printable(&format!("{}: {damage}", file.key)));
            written = mem::replace(&mut written, Ok(())).and(line);
        }
        progress.show(|| tally.line());
    })?;
    progress.clear();
    written?;
    writeln!(report, "{}", tally.line())?;
    Ok(match tally.damaged {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(DAMAGED),
    })
}
