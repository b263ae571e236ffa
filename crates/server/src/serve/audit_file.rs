//! Copies the audit trail to a file, as JSON lines.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kazoo_storage::Result as StorageResult;
use kazoo_storage_ledger::{Ledger, audit::Audited};
use serde_json::Value;
use tokio::{
    select,
    sync::Notify,
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{
    admin::{audit_json, hex},
    log,
};

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

/// Maximum number of files of other histories that end at the same number.
const MAX_KEPT: u32 = 1000;

/// The file of `--audit-file`.
pub(super) struct AuditFile {
    path: PathBuf,
    ledger: Ledger,
    /// Asks for the file to be opened again.
    reopen: Notify,
    stop: Notify,
    ended: Notify,
}

/// The open file, and the last entry that was written.
struct Open {
    file: File,
    last: Last,
}

/// An entry by which the file and the ledger are compared.
struct Last {
    seq: i64,
    /// `None` if it is not known yet.
    hash: Option<String>,
}

impl Last {
    fn of(entry: &Audited) -> Self {
        Self {
            seq: entry.seq,
            hash: Some(hex(&entry.hash)),
        }
    }
}

impl AuditFile {
    /// Opens the file at `path`, and copies the entries of `ledger` to it from the one behind its last line, or from the next one if it
    /// has none. A file whose last line is not an entry of `ledger` is replaced.
    pub(super) async fn start(path: Option<&Path>, ledger: Option<&Ledger>) -> Result<Option<Arc<Self>>, String> {
        let Some((path, ledger)) = path.zip(ledger) else {
            return Ok(None);
        };
        let failed = |error: &dyn std::fmt::Display| format!("cannot open --audit-file {}: {error}", path.display());
        let (file, last) = open(path).map_err(|error| failed(&error))?;
        let last = match last {
            Some(last) => last,
            None => Last {
                seq: ledger.last_audit().await.map_err(|error| failed(&error))?,
                hash: None,
            },
        };
        let mut open = Open { file, last };
        let this = Arc::new(Self {
            path: path.to_owned(),
            ledger: ledger.clone(),
            reopen: Notify::new(),
            stop: Notify::new(),
            ended: Notify::new(),
        });
        let behind = this.behind(&mut open.last).await.map_err(|error| failed(&error))?;
        if behind.is_none() {
            this.replace(&mut open).await.map_err(|error| failed(&error))?;
        }
        tokio::spawn(Arc::clone(&this).run(open));
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
            Ok((file, last)) => {
                open.file = file;
                if let Some(last) = last {
                    open.last = last;
                }
            }
            Err(error) => {
                tracing::error!(file = %self.path.display(), %error, "--audit-file cannot be opened again; the previous file stays in use");
            }
        }
    }

    /// Writes the entries behind the last one.
    async fn copy(&self, open: &mut Open) -> Result<(), String> {
        loop {
            let entries = self.behind(&mut open.last).await;
            let Some(entries) = entries.map_err(|error| log::chain(&error))? else {
                if self.replace(open).await? {
                    continue;
                }
                return Ok(());
            };
            let Some(last) = entries.last().map(Last::of) else {
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

    /// Returns the entries behind `last`. Returns `None` if the ledger has another entry instead of `last`, or ends before it: it was
    /// restored from a backup, or is another one.
    async fn behind(&self, last: &mut Last) -> StorageResult<Option<Vec<Audited>>> {
        let mut entries = self.ledger.audit_after(last.seq.saturating_sub(1), PAGE + 1).await?;
        match entries.first() {
            Some(entry) if entry.seq == last.seq => {
                let hash = hex(&entry.hash);
                if *last.hash.get_or_insert_with(|| hash.clone()) != hash {
                    return Ok(None);
                }
                entries.remove(0);
            }
            None if self.ledger.last_audit().await? < last.seq => return Ok(None),
            // `last` was removed because of its age.
            Some(_) | None => {}
        }
        Ok(Some(entries))
    }

    /// Keeps the file under another name, and begins a new one with the oldest entry of the ledger. Returns `false` as long as the
    /// ledger has none.
    async fn replace(&self, open: &mut Open) -> Result<bool, String> {
        let entries = self.ledger.audit_after(0, PAGE).await;
        let entries = entries.map_err(|error| log::chain(&error))?;
        let Some(last) = entries.last().map(Last::of) else {
            return Ok(false);
        };
        let (path, seq) = (self.path.clone(), open.last.seq);
        let replaced = spawn_blocking(move || replace(&path, seq, &entries)).await;
        let failed = |error: io::Error| {
            format!("the ledger does not have its last entry {seq}, and it cannot be replaced by a new file: {error}")
        };
        let file = replaced.map_err(|error| error.to_string())?.map_err(failed)?;
        *open = Open { file, last };
        Ok(true)
    }
}

/// Opens the file, and returns its last entry.
fn open(path: &Path) -> io::Result<(File, Option<Last>)> {
    // It has the keys of files.
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).read(true).mode(0o600).open(path)?;
    let last = last_entry(&mut file)?;
    Ok((file, last))
}

/// Replaces the file, which ends at the entry `seq` of another history, by one with `entries`.
///
/// `path` always exists, as the old file or as the new one. After a crash in between, the old one is replaced at the next start.
fn replace(path: &Path, seq: i64, entries: &[Audited]) -> io::Result<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let new = tempfile::Builder::new().append(true).tempfile_in(directory)?;
    write(new.as_file().try_clone()?, entries)?;
    let kept = keep(path, seq)?;
    // The old file needs its second name before it loses the first.
    File::open(directory)?.sync_all()?;
    tracing::error!(
        file = %path.display(),
        kept = %kept.display(),
        seq,
        "the ledger does not have the last entry of --audit-file: it was restored from a backup, or is another one; the file is kept under \
         another name, and a new one begins with the oldest entry of the ledger"
    );
    Ok(new.persist(path)?)
}

/// Gives the file a second name that no other file has, and returns it.
fn keep(path: &Path, seq: i64) -> io::Result<PathBuf> {
    let file = fs::symlink_metadata(path)?;
    for number in 1..=MAX_KEPT {
        let mut kept = path.as_os_str().to_owned();
        kept.push(format!(".replaced-{seq}"));
        if number > 1 {
            kept.push(format!("-{number}"));
        }
        match fs::hard_link(path, &kept) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            linked => return linked.map(|()| kept.into()),
        }
        let other = fs::symlink_metadata(&kept)?;
        if (other.dev(), other.ino()) == (file.dev(), file.ino()) {
            // An attempt before has failed after this step.
            return Ok(kept.into());
        }
    }
    Err(ErrorKind::AlreadyExists.into())
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

/// Returns the entry in the last line. A part of a line, after a crash, is removed.
fn last_entry(file: &mut File) -> io::Result<Option<Last>> {
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
    let last = entry.as_ref().and_then(|entry| {
        let (seq, hash) = (entry.get("seq")?.as_i64()?, entry.get("hash")?.as_str()?);
        Some(Last {
            seq,
            hash: Some(hash.to_owned()),
        })
    });
    if last.is_none() && end > 0 {
        return Err(io::Error::other(
            "its last line is not an entry of an audit trail; name another file",
        ));
    }
    Ok(last)
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
        let [seven, eight] = [7, 8].map(|seq| format!("{{\"seq\":{seq},\"hash\":\"0{seq}\"}}\n"));
        for (text, seq, kept) in [
            (String::new(), None, ""),
            ("{\"seq\":".to_owned(), None, ""),
            (seven.clone(), Some(7), &*seven),
            (format!("{seven}{eight}{{\"s"), Some(8), &*format!("{seven}{eight}")),
        ] {
            fs::write(&path, &text).unwrap();
            let (_, last) = open(&path).unwrap();
            let last = last.map(|last| (last.seq, last.hash.unwrap()));
            assert_eq!(last, seq.map(|seq| (seq, format!("0{seq}"))), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), kept);
        }
        for other in ["root:x:0:0\n", "{\"seq\":7}\n"] {
            fs::write(&path, other).unwrap();
            assert!(open(&path).is_err(), "{other}");
        }
    }

    #[test]
    fn keeps_a_file_once_and_replaces_none() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("audit.jsonl");
        for number in 1..=3 {
            fs::write(&path, number.to_string()).unwrap();
            let kept = keep(&path, 86).unwrap();
            assert_eq!(keep(&path, 86).unwrap(), kept);
            fs::remove_file(&path).unwrap();
        }
        for (number, name) in ["replaced-86", "replaced-86-2", "replaced-86-3"].iter().enumerate() {
            let kept = fs::read_to_string(path.with_extension(format!("jsonl.{name}")));
            assert_eq!(kept.unwrap(), (number + 1).to_string());
        }
    }
}
