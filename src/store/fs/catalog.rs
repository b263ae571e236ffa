//! What is stored, and away with it.

use std::{
    fs::File,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_core::Stream;
use rustix::{
    fs::{AtFlags, Dir, FileType, Stat},
    io::Errno,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    FsStore, Inner, blocking,
    error::failed,
    fault::{self, Point},
    journal::{Change, Content},
    name::{self, KeyPath},
    tree::{self, Found, Tree},
    version::Version,
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    store::{BlobCatalog, BlobEntry},
};

/// How many entries are read ahead of who asks for them.
const AHEAD: usize = 256;

impl BlobCatalog for FsStore {
    /// Occupies one of Tokio's blocking threads until it ends or is dropped.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let (entries, received) = channel(AHEAD);
        let (store, prefix) = (Arc::clone(&self.0), prefix.cloned());
        tokio::task::spawn_blocking(move || {
            if let Err(Stop::Failed(error)) = list(&store, prefix.as_ref(), &entries) {
                let _ = entries.blocking_send(Err(error));
            }
        });
        Listing(received)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || {
            store.ready()?;
            delete(&store, &key)
        })
        .await
    }
}

struct Listing(Receiver<Result<BlobEntry>>);

impl Stream for Listing {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

/// What ends a listing early.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sends an entry for each file beneath `prefix`. Blocks.
fn list(store: &Inner, prefix: Option<&BlobKey>, entries: &Sender<Result<BlobEntry>>) -> Result<(), Stop> {
    walk(&store.tree, prefix, &mut |names, visited| match visited {
        Visited::Media { stat, .. } => {
            let Some(key) = name::key(names) else { return Ok(()) };
            let mut entry = BlobEntry::new(key, u64::try_from(stat.st_size).unwrap_or_default());
            entry.modified = modified(stat);
            entries.blocking_send(Ok(entry)).map_err(|_| Stop::Unheard)
        }
        Visited::Sidecar { .. } => Ok(()),
        Visited::Unreadable(error) => Err(error.into()),
    })
    .map(drop)
}

/// What a walk comes to; with each, the names of a media file, or of a directory, below the root.
pub(super) enum Visited<'a> {
    Media {
        stat: &'a Stat,
    },
    /// The sidecar of that media, which is in `dir` or is not.
    Sidecar {
        dir: &'a File,
    },
    /// What is below that directory, or whether it is one, cannot be told.
    Unreadable(Error),
}

/// Visits what is below the root, or below `prefix`; says whether there is such a directory. Blocks.
pub(super) fn walk<E: From<Error>>(
    tree: &Tree,
    prefix: Option<&BlobKey>,
    visit: &mut impl FnMut(&[String], Visited<'_>) -> Result<(), E>,
) -> Result<bool, E> {
    let Some(prefix) = prefix else {
        below(tree.root(), &mut Vec::new(), visit)?;
        return Ok(true);
    };
    let Some((dir, mut names)) = tree.find_beneath(prefix)? else {
        return Ok(false);
    };
    below(&dir, &mut names, visit)?;
    Ok(true)
}

/// Visits what is below `dir`, which has these `names` below the root.
fn below<E>(
    dir: &File,
    names: &mut Vec<String>,
    visit: &mut impl FnMut(&[String], Visited<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let unreadable = |errno| Visited::Unreadable(failed("read a directory", errno));
    let entries = match Dir::read_from(dir) {
        Ok(entries) => entries,
        Err(errno) => return visit(names, unreadable(errno)),
    };
    for found in entries {
        let found = match found {
            Ok(found) => found,
            Err(errno) => return visit(names, unreadable(errno)),
        };
        // What is no text has another program written.
        let Ok(name) = found.file_name().to_str() else {
            continue;
        };
        // Names with a leading dot are the store's own.
        if let Some(own) = name.strip_prefix('.') {
            if let Some(media) = own.strip_suffix(".json") {
                names.push(media.to_owned());
                visit(names, Visited::Sidecar { dir })?;
                names.pop();
            }
            continue;
        }
        names.push(name.to_owned());
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => visit(names, Visited::Media { stat: &stat })?,
                // The file system's, and closed to this store, where the root is a file system of its own.
                FileType::Directory if names.len() == 1 && name == "lost+found" => {}
                FileType::Directory => match tree::open(dir, name) {
                    Ok(Found::Directory(inner)) => below(&inner, names, visit)?,
                    Ok(_) => {}
                    Err(error) => visit(names, Visited::Unreadable(error))?,
                },
                _ => {}
            },
            // Deleted meanwhile.
            Err(Errno::NOENT) => {}
            Err(errno) => visit(names, unreadable(errno))?,
        }
        names.pop();
    }
    Ok(())
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the types differ by system"
)]
fn modified(stat: &Stat) -> Option<SystemTime> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let nanos = u32::try_from(stat.st_mtime_nsec).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Removes the file under `key`, durably. Blocks.
pub(super) fn delete(store: &Inner, key: &BlobKey) -> Result<()> {
    let path = KeyPath::of(key);
    let _turn = store.locks.lock(key);
    let Some(dir) = store.tree.find(&path)? else {
        return Ok(());
    };
    let version = match tree::open(&dir, &path.file)? {
        Found::File(_, stat) => Version::of(&stat).map_err(|error| failed("look at what is stored", error))?,
        // Of media that was removed by hand, the sidecar may be left.
        Found::Absent => return unlink(&dir, &path),
        Found::Directory(_) => return Ok(()),
        found => return Err(found.blocks(path.len())),
    };
    let change = Change {
        key,
        modified: Version::successor(Some(version), SystemTime::now()),
        content: Content::Deleted,
        sidecar: None,
    };
    // Kept until the pair is gone.
    let unapplied = store.journal().map(|journal| journal.append(&change)).transpose()?;
    if let Err(error) = unlink_one(&dir, &path.file) {
        return Err(match unapplied {
            Some(unapplied) => unapplied.withdraw(error),
            None => error,
        });
    }
    // The media is gone.
    unlink_one(&dir, &path.sidecar())?;
    store.tree.prune(&path)
}

/// Removes the file under `key` after a crash, unless it `stays`. Whatever else is in its place stays too. Blocks.
pub(super) fn delete_again(tree: &Tree, key: &BlobKey, stays: impl Fn(SystemTime) -> bool) -> Result<()> {
    let path = KeyPath::of(key);
    let dir = match tree.find(&path) {
        // A link on the way: no file of this store is behind it.
        Err(error) if error.kind() == ErrorKind::Conflict => return Ok(()),
        found => found?,
    };
    let Some(dir) = dir else {
        return Ok(());
    };
    match tree::open(&dir, &path.file)? {
        Found::File(_, stat) => {
            let version = Version::of(&stat).map_err(|error| failed("look at what is stored", error))?;
            if stays(version.modified) {
                return Ok(());
            }
        }
        Found::Absent => {}
        Found::Directory(_) | Found::Symlink | Found::Other => return Ok(()),
    }
    unlink(&dir, &path)?;
    tree.prune(&path)
}

/// Removes media and sidecar, in this order: without its media, a sidecar is none, and a reader that finds no sidecar can
/// see that the media is gone.
fn unlink(dir: &File, path: &KeyPath<'_>) -> Result<()> {
    unlink_one(dir, &path.file)?;
    unlink_one(dir, &path.sidecar())
}

fn unlink_one(dir: &File, name: &str) -> Result<()> {
    match fault::at(Point::Unlink).and_then(|()| rustix::fs::unlinkat(dir, name, AtFlags::empty())) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("delete a file", errno)),
    }
}
