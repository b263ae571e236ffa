//! [`Log`]: makes the write-ahead log of a database durable.

use std::{
    ffi::OsString,
    fs::{File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use kazoo_storage::{Error, ErrorKind, Result};

/// Number of bytes that are read and written at once.
const CHUNK: usize = 1 << 20;

/// The write-ahead log of an open database.
///
/// SQLite could sync it within each commit, with `fsync`. This syncs it with `fdatasync`, which need not write the time of
/// the change, and while the next transaction runs.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    durable: bool,
    /// The database and its log.
    files: [Named; 2],
}

/// A file that is in use, and its path.
#[derive(Debug)]
struct Named {
    path: PathBuf,
    file: Metadata,
}

impl Log {
    /// Opens the log of the database at `path`, which is open. Without `durable`, it is never synced.
    pub(super) fn open(path: &Path, durable: bool) -> io::Result<Self> {
        // SQLite keeps the log beside the file itself, not beside a link to it.
        let path = path.canonicalize()?;
        let mut log = OsString::from(&path);
        log.push("-wal");
        let log = PathBuf::from(log);
        Ok(Self {
            // On some systems, only a file that is open for writing can be synced.
            file: File::options().read(true).write(true).open(&log)?,
            durable,
            // The database itself must not be opened here: to close it would end the locks of SQLite.
            files: [Named::new(log)?, Named::new(path)?],
        })
    }

    /// Opens the log of the database at `path` so that each sync fails: the system refuses to sync this device.
    #[cfg(test)]
    #[cfg(unix)]
    pub(super) fn failing(path: &Path) -> Self {
        Self {
            file: File::open("/dev/null").unwrap(),
            ..Self::open(path, true).unwrap()
        }
    }

    /// Returns after everything that was committed before is durable.
    pub(super) fn sync(&self) -> Result<()> {
        if self.durable {
            self.file.sync_data().map_err(failed)?;
        }
        self.check_names()
    }

    /// Fails if a file was removed or replaced, so that its data would be lost when it is closed.
    fn check_names(&self) -> Result<()> {
        self.files.iter().try_for_each(Named::check)
    }

    /// Writes the whole log once more, and returns when it is durable. Nothing may write to it meanwhile.
    ///
    /// After a failed sync, Linux considers what it could not write as written, and reports the failure once: the next sync
    /// succeeds, for another process or after a restart even the first. Written again, it is synced again.
    pub(super) fn rewrite(&self) -> Result<()> {
        // Otherwise each change would write a log that nobody can find again.
        self.check_names()?;
        self.copy_onto_itself().map_err(failed)?;
        self.sync()
    }

    fn copy_onto_itself(&self) -> io::Result<()> {
        let mut file = &self.file;
        let mut chunk = vec![0; CHUNK];
        let mut position = 0;
        loop {
            file.seek(SeekFrom::Start(position))?;
            let read = file.read(&mut chunk)?;
            let Some(content) = chunk.get(..read).filter(|content| !content.is_empty()) else {
                return Ok(());
            };
            file.seek(SeekFrom::Start(position))?;
            file.write_all(content)?;
            position += read as u64;
        }
    }
}

impl Named {
    fn new(path: PathBuf) -> io::Result<Self> {
        let file = path.metadata()?;
        Ok(Self { path, file })
    }

    /// Fails if the path has another file.
    fn check(&self) -> Result<()> {
        let named = self.path.metadata();
        if named.is_ok_and(|named| is_same(&named, &self.file)) {
            return Ok(());
        }
        let path = self.path.display();
        let message = format!(
            "{path} was removed or replaced while it was in use; stop the program, restore the file or run `reindex`, and \
             start it again"
        );
        Err(Error::new(ErrorKind::Unavailable, message))
    }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Other systems do not allow an open file to be removed.
#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

fn failed(error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "the file system of the ledger is full",
        _ => "the write-ahead log of the ledger cannot be synced",
    };
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn writes_itself_again_without_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("ledger.sqlite");
        let log = directory.path().join("ledger.sqlite-wal");
        fs::write(&database, "").unwrap();
        for length in [0, 1, CHUNK, 3 * CHUNK + 1] {
            let content: Vec<u8> = (0..length).map(|byte| (byte % 251).to_le_bytes()[0]).collect();
            fs::write(&log, &content).unwrap();
            let before = log.metadata().unwrap().modified().unwrap();
            Log::open(&database, true).unwrap().rewrite().unwrap();
            assert!(fs::read(&log).unwrap() == content, "{length} bytes");
            assert!(length == 0 || log.metadata().unwrap().modified().unwrap() >= before);
        }
    }

    #[test]
    fn notices_that_a_file_was_removed_or_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("ledger.sqlite");
        for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
            let path = directory.path().join(name);
            for replaced in [false, true] {
                fs::write(&database, "").unwrap();
                fs::write(directory.path().join("ledger.sqlite-wal"), "").unwrap();
                let log = Log::open(&database, true).unwrap();
                log.sync().unwrap();
                fs::rename(&path, directory.path().join("moved")).unwrap();
                if replaced {
                    fs::write(&path, "").unwrap();
                }
                let error = log.sync().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.message().starts_with(&*path.to_string_lossy()), "{error}");
            }
        }
    }
}
