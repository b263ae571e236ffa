//! [`Scratch`]: a directory for temporary files.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use super::{cannot_write, create};

/// The file that is locked.
const LOCK: &str = "lock";

/// A directory for the temporary files of one export. It is removed with everything in it when it is dropped, so each task that creates
/// files there owns a share. If the process is killed, the next export to the same target removes the files.
pub(super) struct Scratch {
    path: PathBuf,
    /// Locked while the export runs.
    _lock: File,
}

impl Scratch {
    /// Opens the directory `name` below `root`, and removes the files of an export that was killed.
    pub(super) fn open(root: &Path, name: &Path) -> Result<Self, String> {
        let path = root.join(name);
        make_below(root, name)?;
        let lock = path.join(LOCK);
        if let Ok(found) = lock.symlink_metadata() {
            refuse_link(&lock, &found)?;
        }
        let lock = create(&lock)?;
        lock.try_lock()
            .map_err(|_| format!("another export has the temporary files in {}", path.display()))?;
        let entries = fs::read_dir(&path).map_err(|error| cannot_write(&path, &error))?;
        for entry in entries.flatten().filter(|entry| entry.file_name() != LOCK) {
            fs::remove_file(entry.path()).map_err(|error| cannot_write(&entry.path(), &error))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// Returns the path of the file `name`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // If this fails, the next export tries it again.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Creates the directory `path` below `root`, and those above it. Fails if one of them is a symbolic link.
pub(super) fn make_below(root: &Path, path: &Path) -> Result<(), String> {
    let mut directory = root.to_owned();
    for name in path {
        directory.push(name);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = directory.symlink_metadata();
                refuse_link(&directory, &found.map_err(|error| cannot_write(&directory, &error))?)?;
            }
            made => made.map_err(|error| cannot_write(&directory, &error))?,
        }
    }
    Ok(())
}

pub(super) fn refuse_link(path: &Path, found: &Metadata) -> Result<(), String> {
    if found.is_symlink() {
        let message =
            "it is a symbolic link, which an export does not follow; remove it, or export to another directory";
        return Err(cannot_write(path, &message));
    }
    Ok(())
}
