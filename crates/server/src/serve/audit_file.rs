//! Copies the audit trail to a file, as JSON lines.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kazoo_storage_ledger::{Ledger, audit::Audited};
use serde_json::Value;
use tokio::{
    select,
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{admin::audit_json, log};

/// Number of entries that are written at once.
const PAGE: usize = 500;

/// Interval in which entries of other servers are looked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Time to write the last entries when the server stops.
const LAST: Duration = Duration::from_secs(2);

/// Maximum length of the last line that is read, in bytes.
const TAIL: u64 = 64 << 10;

/// The file of `--audit-file`.
pub(super) struct AuditFile {
    path: PathBuf,
    ledger: Ledger,
    /// Asks for the file to be opened again.
    reopen: Notify,
    stop: Notify,
    ended: Notify,
}

/// The open file, and the number of the last entry that was written.
struct Open {
    file: File,
    last: i64,
}

impl AuditFile {
    /// Opens the file at `path`, and copies the entries of `ledger` to it from the one behind its last line, or from the next one if it
    /// has none.
    pub(super) async fn start(path: Option<&Path>, ledger: Option<&Ledger>) -> Result<Option<Arc<Self>>, String> {
        let Some((path, ledger)) = path.zip(ledger) else {
            return Ok(None);
        };
        let failed = |error: &dyn std::fmt::Display| format!("cannot open --audit-file {}: {error}", path.display());
        let mut file = open(path).map_err(|error| failed(&error))?;
        let last = match last_seq(&mut file).map_err(|error| failed(&error))? {
            Some(last) => last,
            None => ledger.last_audit().await.map_err(|error| failed(&error))?,
        };
        let this = Arc::new(Self {
            path: path.to_owned(),
            ledger: ledger.clone(),
            reopen: Notify::new(),
            stop: Notify::new(),
            ended: Notify::new(),
        });
        tokio::spawn(Arc::clone(&this).run(Open { file, last }));
        Ok(Some(this))
    }

    /// Opens the file again before the next entry: it may have been moved away.
    pub(super) fn reopen(&self) {
        self.reopen.notify_one();
    }

    /// Writes the entries so far, and ends the copy.
    pub(super) async fn end(&self) {
        self.stop.notify_one();
        self.ended.notified().await;
    }

    async fn run(self: Arc<Self>, mut open: Open) {
        loop {
            let appended = self.ledger.audited();
            let pause = match self.copy(&mut open).await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::error!(file = %self.path.display(), error, "the audit trail cannot be copied to the file; it is tried again");
                    PAUSE
                }
            };
            select! {
                () = appended, if pause == INTERVAL => {}
                () = sleep(pause) => {}
                () = self.reopen.notified() => self.open_again(&mut open),
                () = self.stop.notified() => {
                    let _ = timeout(LAST, self.copy(&mut open)).await;
                    self.ended.notify_one();
                    return;
                }
            }
        }
    }

    fn open_again(&self, open: &mut Open) {
        match self::open(&self.path) {
            Ok(file) => open.file = file,
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "--audit-file cannot be opened again; the previous file stays in use");
            }
        }
    }

    /// Writes the entries behind the last one.
    async fn copy(&self, open: &mut Open) -> Result<(), String> {
        loop {
            let entries = self.ledger.audit_after(open.last, PAGE).await;
            let entries = entries.map_err(|error| log::chain(&error))?;
            let Some(last) = entries.last().map(|entry| entry.seq) else {
                return Ok(());
            };
            let file = open.file.try_clone().map_err(|error| error.to_string())?;
            let written = spawn_blocking(move || write(file, &entries)).await;
            written
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            open.last = last;
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // It has the keys of files.
    let mut options = OpenOptions::new();
    options.create(true).append(true).read(true).mode(0o600).open(path)
}

/// Appends `entries`, or nothing.
fn write(mut file: File, entries: &[Audited]) -> io::Result<()> {
    let lines: String = entries.iter().fold(String::new(), |lines, entry| {
        lines + &audit_json(entry).to_string() + "\n"
    });
    let before = file.metadata()?.len();
    let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        // A full disk has room for a part.
        let _ = file.set_len(before);
    }
    written
}

/// Returns the number of the entry in the last line. A part of a line, after a crash, is removed.
fn last_seq(file: &mut File) -> io::Result<Option<i64>> {
    let len = file.metadata()?.len();
    let start = len.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if end < tail.len() {
        file.set_len(start + end as u64)?;
    }
    let lines = tail.get(..end.saturating_sub(1)).unwrap_or_default();
    let line = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let entry: Option<Value> = serde_json::from_slice(line).ok();
    match entry.as_ref().and_then(|entry| entry.get("seq")?.as_i64()) {
        None if end > 0 => Err(io::Error::other(
            "its last line is not an entry of an audit trail; name another file",
        )),
        seq => Ok(seq),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn continues_behind_the_last_whole_line() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("audit.jsonl");
        for (text, seq, kept) in [
            ("", None, ""),
            ("{\"seq\":", None, ""),
            ("{\"seq\":7}\n", Some(7), "{\"seq\":7}\n"),
            ("{\"seq\":7}\n{\"seq\":8}\n{\"s", Some(8), "{\"seq\":7}\n{\"seq\":8}\n"),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(last_seq(&mut open(&path).unwrap()).unwrap(), seq, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), kept);
        }
        fs::write(&path, "root:x:0:0\n").unwrap();
        assert!(last_seq(&mut open(&path).unwrap()).is_err());
    }
}
