//! The `scrub` command: everything that is stored, read and compared with its digest.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal as _, Write as _},
    mem,
    num::NonZeroU64,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, builder::BoolishValueParser};
use kazoo_storage::{
    BlobKey,
    store::{FsScrub, Scrubbed, Verdict},
};

use crate::cli::{Location, Size};

/// What the command exits with if something is damaged.
const DAMAGED: u8 = 2;

/// How often progress is shown where somebody looks on, and where it goes to a file.
const REFRESH: Duration = Duration::from_millis(200);
const REFRESH_LOG: Duration = Duration::from_secs(60);

#[derive(Args, Debug)]
pub(crate) struct ScrubOptions {
    /// Directory that the files are in; an object store checks what it holds by itself
    #[arg(long, env = "KAZOO_STORAGE_STORE", value_name = "DIR", default_value = "./data")]
    store: Location,

    /// Most bytes to read each second, so that who fetches meanwhile does not wait; with a suffix KiB, MiB or GiB; 0 is no
    /// limit
    #[arg(long, env = "KAZOO_STORAGE_RATE", value_name = "SIZE", default_value = "32MiB")]
    rate: Size,

    /// Move what is damaged to `.quarantine` below the store's directory, so that it is no longer served; the server must
    /// be stopped
    #[arg(long, env = "KAZOO_STORAGE_QUARANTINE", value_parser = BoolishValueParser::new())]
    quarantine: bool,

    /// Only what is beneath this name, such as an account's id, spelled as in the URL behind the mount
    #[arg(value_name = "NAME")]
    beneath: Option<String>,
}

/// What was found so far.
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
            Verdict::Damaged(_) => self.damaged += 1,
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

/// Reports on stdout what is damaged, and on stderr how far it has come.
pub(crate) fn run(options: &ScrubOptions) -> Result<ExitCode, Box<dyn StdError + Send + Sync>> {
    let Location::Directory(root) = &options.store else {
        let message = "is no directory: an object store checks what it holds by itself";
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
    // A report that nobody reads is no reason to stop moving what is damaged.
    let mut told = Ok(());
    scrub.run(|file| {
        tally.count(file);
        if let Verdict::Damaged(damage) = &file.verdict {
            progress.clear();
            let line = writeln!(report, "{}: {damage}", file.key);
            told = mem::replace(&mut told, Ok(())).and(line);
        }
        progress.show(&tally);
    })?;
    progress.clear();
    told?;
    writeln!(report, "{}", tally.line())?;
    Ok(match tally.damaged {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(DAMAGED),
    })
}

/// One line on stderr: over the last one on a terminal, and now and then elsewhere.
struct Progress {
    terminal: bool,
    next: Instant,
}

impl Progress {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            next: Instant::now() + if terminal { REFRESH } else { REFRESH_LOG },
        }
    }

    fn show(&mut self, tally: &Tally) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let line = tally.line();
        // Nobody is told if stderr is gone.
        let _ = if self.terminal {
            self.next = now + REFRESH;
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            self.next = now + REFRESH_LOG;
            writeln!(io::stderr(), "{line}")
        };
    }

    fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
