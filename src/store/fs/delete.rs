//! Deletes a file.

use std::{fs::File, time::SystemTime};

use rustix::{fs::AtFlags, io::Errno};

use super::{
    Inner,
    error::failed,
    fault::{self, Point},
    journal::{Change, Content},
    name::KeyPath,
    tree::{self, Found, Tree},
    version::Version,
};
use crate::{
    error::{ErrorKind, Result},
    key::BlobKey,
};

/// Removes the file under `key`, durably. Blocks.
pub(super) fn delete(store: &Inner, key: &BlobKey) -> Result<()> {
    let path = KeyPath::of(key);
    let _turn = store.locks.lock(key);
    let Some(dir) = store.tree.find(&path)? else {
        return Ok(());
    };
    let version = match tree::open(&dir, &path.file)? {
        Found::File(_, stat) => Version::of(&stat).map_err(|error| failed("open the stored file", error))?,
        // The operator may have removed the media and left the sidecar.
        Found::Absent => return remove_pair(&dir, &path),
        Found::Directory(_) => return Ok(()),
        found => return Err(found.conflict(path.len())),
    };
    let change = Change {
        key,
        modified: Version::successor(Some(version), SystemTime::now()),
        content: Content::Deleted,
        sidecar: None,
    };
    // Held until the pair is removed.
    let unapplied = store.journal().map(|journal| journal.append(&change)).transpose()?;
    if let Err(error) = remove(&dir, &path.file) {
        return Err(match unapplied {
            Some(unapplied) => unapplied.withdraw(error),
            None => error,
        });
    }
    // The media is removed, so the file is deleted.
    remove(&dir, &path.sidecar())?;
    store.tree.prune(&path)
}

/// Repeats the deletion of the file under `key` after a crash, unless it `stays`. Leaves anything else at its path.
/// Blocks.
pub(super) fn replay(tree: &Tree, key: &BlobKey, stays: impl Fn(SystemTime) -> bool) -> Result<()> {
    let path = KeyPath::of(key);
    let dir = match tree.find(&path) {
        // The path leads through a symbolic link, so the file is not this store's.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        found => found?,
    };
    let Some(dir) = dir else {
        return Ok(());
    };
    match tree::open(&dir, &path.file)? {
        Found::File(_, stat) => {
            let version = Version::of(&stat).map_err(|error| failed("open the stored file", error))?;
            if stays(version.modified) {
                return Ok(());
            }
        }
        Found::Absent => {}
        Found::Directory(_) | Found::Symlink | Found::Other => return Ok(()),
    }
    remove_pair(&dir, &path)?;
    tree.prune(&path)
}

/// Removes the media, then the sidecar: a reader that finds no sidecar can see that the media is deleted.
fn remove_pair(dir: &File, path: &KeyPath<'_>) -> Result<()> {
    remove(dir, &path.file)?;
    remove(dir, &path.sidecar())
}

fn remove(dir: &File, name: &str) -> Result<()> {
    match fault::at(Point::Unlink).and_then(|()| rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("delete a file", errno)),
    }
}
