//! `.stage/`: files of uploads before they are moved to their paths, the segments of the journal, and the lock of the
//! root.

use std::{
    collections::HashSet,
    fs::{File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags},
    io::Errno,
};

use super::{
    error::{broken, failed},
    fault::{self, Point},
    journal::SEGMENTS,
    tree,
};
use crate::error::{Error, ErrorKind, Result};

pub(super) const DIRECTORY: &str = ".stage";
const LOCK: &str = "lock";

/// The staging directory of a root. The root is locked while this value lives.
#[derive(Debug)]
pub(super) struct Stage {
    dir: File,
    /// A part of every name, so that no two processes use the same one: the journal may still contain older names.
    session: u128,
    next: AtomicU64,
    _lock: File,
}

impl Stage {
    /// Creates the staging directory of `root` if it does not exist, and locks the root.
    pub(super) fn open(root: &File) -> Result<Self> {
        let unopened = |errno: Errno| broken("open its staging directory", errno);
        match rustix::fs::mkdirat(root, DIRECTORY, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(broken("create its staging directory", errno)),
        }
        let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(root, DIRECTORY, flags | OFlags::DIRECTORY, Mode::empty()).map_err(unopened)?;
        let mode = Mode::from_raw_mode(0o600);
        let lock = rustix::fs::openat(&dir, LOCK, flags | OFlags::RDWR | OFlags::CREATE, mode).map_err(unopened)?;
        let lock = File::from(lock);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "another store, in this process or another, has this root open; stop it first, or use a separate root \
                     for each",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock its root", error)),
        }
        Ok(Self {
            dir: File::from(dir),
            session: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_nanos(),
            next: AtomicU64::new(0),
            _lock: lock,
        })
    }

    /// Removes the leftovers of a process that ended during an upload, except for the files named in `needed`.
    pub(super) fn sweep(&self, needed: &HashSet<&str>) -> Result<()> {
        let own = format!("{:x}-", self.session);
        let stays = |name: &str| name.starts_with(&own) || needed.contains(name);
        sweep(&self.dir, stays).map_err(|error| failed("clear its staging directory", error))
    }

    /// Returns the names of the files that an earlier process left, except for those that are `needed`.
    pub(super) fn leftover_names(&self, needed: &HashSet<&str>) -> Result<Vec<String>> {
        let unreadable = |errno: Errno| broken("read its staging directory", errno);
        let own = format!("{:x}-", self.session);
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let mut store = [".", "..", LOCK].iter().chain(&SEGMENTS);
            if !name.starts_with(&own) && !needed.contains(name) && store.all(|store| *store != name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    pub(super) fn dir(&self) -> &File {
        &self.dir
    }

    /// Creates an empty file.
    pub(super) fn create(self: &Arc<Self>) -> Result<Staged> {
        let name = format!("{:x}-{}", self.session, self.next.fetch_add(1, Ordering::Relaxed));
        let file = create_new(&self.dir, &name).map_err(|errno| match errno {
            Errno::NOENT => Error::new(
                ErrorKind::Unavailable,
                "the storage's staging directory was removed; the store has to be opened again",
            )
            .with_source(errno),
            errno => failed("stage an upload", errno),
        })?;
        Ok(Staged {
            stage: Arc::clone(self),
            name,
            file: Arc::new(file),
            stays: false,
        })
    }

    /// Creates a file with these bytes.
    pub(super) fn write(self: &Arc<Self>, bytes: &[u8]) -> Result<Staged> {
        let mut staged = self.create()?;
        staged.write(bytes)?;
        Ok(staged)
    }

    /// Opens the file `name` that an earlier process left, if it exists and has this modification time. Dropping it
    /// does not remove the file.
    pub(super) fn open_leftover(self: &Arc<Self>, name: &str, modified: Option<SystemTime>) -> Result<Option<Staged>> {
        // The store's own names contain no slash.
        if name.contains('/') {
            return Ok(None);
        }
        let unreadable = |error| failed("open a staged upload", error);
        let file = match rustix::fs::openat(&self.dir, name, tree::READ, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(unreadable(errno.into())),
        };
        let found = file.metadata().and_then(|stat| stat.modified()).map_err(unreadable)?;
        Ok(modified.is_none_or(|modified| found == modified).then(|| Staged {
            stage: Arc::clone(self),
            name: name.to_owned(),
            file: Arc::new(file),
            stays: true,
        }))
    }

    /// Makes the names of the staged files durable.
    pub(super) fn sync(&self) -> Result<()> {
        let synced = self.dir.sync_all();
        synced.map_err(|error| failed("make its staging directory durable", error))
    }

    /// Writes a few bytes, syncs them with `sync`, and reads them back.
    pub(super) fn check(self: &Arc<Self>, sync: impl FnOnce(&Staged) -> Result<()>) -> Result<()> {
        const TEXT: &[u8] = b"Can a file be stored here?";
        let mut staged = self.create()?;
        staged.write(TEXT)?;
        sync(&staged)?;
        let mut read = [0; TEXT.len()];
        staged
            .file
            .read_exact_at(&mut read, 0)
            .map_err(|error| failed("read back what it wrote", error))?;
        if read == TEXT {
            Ok(())
        } else {
            Err(Error::new(
                ErrorKind::Unavailable,
                "the storage returned different bytes than were written to it",
            ))
        }
    }
}

/// Creates the file `name` in `dir`, with the access of all stored files. [`Errno::EXIST`] if anything has that name.
pub(super) fn create_new(dir: &File, name: &str) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o640)).map(File::from)
}

/// Removes every file except the lock, the journal, and those for whose name `stays` is true.
fn sweep(dir: &File, stays: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let mut own = [".", "..", LOCK].iter().chain(&SEGMENTS);
        if own.any(|own| name == own.as_bytes()) || entry.file_name().to_str().is_ok_and(&stays) {
            continue;
        }
        match rustix::fs::unlinkat(dir, entry.file_name(), AtFlags::empty()) {
            // The store has no directories here.
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A file in the staging directory. Removes the file on drop, unless it was moved or belongs to the journal.
#[derive(Debug)]
pub(super) struct Staged {
    stage: Arc<Stage>,
    name: String,
    file: Arc<File>,
    /// `true` if the file outlives this value.
    stays: bool,
}

impl Staged {
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        fault::at(Point::Write).map_err(|errno| failed("write an upload", errno))?;
        (&*self.file)
            .write_all(bytes)
            .map_err(|error| failed("write an upload", error))
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.file
            .sync_all()
            .map_err(|error| failed("make an upload durable", error))
    }

    /// Moves the file to `name` in `dir`, and replaces the file that is there.
    pub(super) fn move_to(&mut self, dir: &File, name: &str) -> Result<(), Errno> {
        rustix::fs::renameat(&self.stage.dir, &*self.name, dir, name)?;
        self.stays = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // On failure, the file is removed when the root is opened again.
        let _ = rustix::fs::unlinkat(&self.stage.dir, &*self.name, AtFlags::empty());
        // A cancelled upload is dropped on a thread that serves requests. Freeing a large file takes a while, so the
        // last handle is closed on a blocking thread.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let file = Arc::clone(&self.file);
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(root: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(root.join(DIRECTORY)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn removes_a_dropped_file_and_the_file_of_a_check() {
        let root = tempfile::tempdir().unwrap();
        let stage = Arc::new(Stage::open(&File::open(root.path()).unwrap()).unwrap());
        let mut staged = stage.create().unwrap();
        staged.write(b"half").unwrap();
        drop(staged);
        stage.check(Staged::sync).unwrap();
        assert_eq!(names(root.path()), [LOCK]);
    }

    #[test]
    fn refuses_a_link_in_place_of_the_staging_directory() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(elsewhere.path().join("precious"), "kept").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join(DIRECTORY)).unwrap();
        Stage::open(&File::open(root.path()).unwrap()).unwrap_err();
        assert!(elsewhere.path().join("precious").exists());
    }
}
