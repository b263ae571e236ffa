//! Deletes files.

use std::{
    fs::File,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use rustix::{fs::AtFlags, io::Errno};
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    Inner,
    error::failed,
    fault::{self, Point},
    journal::{Change, Content},
    name::KeyPath,
    tree::{self, Found, Tree},
    unfinished,
    version::Version,
};
use crate::{
    error::{ErrorKind, Result},
    key::BlobKey,
};

/// Maximum number of files that are deleted together. The directory of each is open meanwhile.
const GROUP: usize = 64;

/// The deletions that wait for the thread that deletes.
#[derive(Debug, Default)]
pub(super) struct Deletions(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// A thread takes what waits.
    is_served: bool,
}

#[derive(Debug)]
struct Waiting {
    key: BlobKey,
    done: oneshot::Sender<Result<()>>,
}

/// The thread that deletes. It does not run if the runtime shuts down before.
struct Thread(Option<Arc<Inner>>);

/// A file that is to be deleted.
struct Target<'a> {
    path: KeyPath<'a>,
    dir: Arc<File>,
    /// `None` if there is only a sidecar: the operator may have removed the media.
    version: Option<Version>,
}

/// Removes the file under `key`, durably.
///
/// One thread removes all files whose deletions arrive together, with one sync of the journal. A thread for each would have to be woken,
/// which takes longer than the deletion.
pub(super) async fn delete(store: &Arc<Inner>, key: &BlobKey) -> Result<()> {
    let (done, result) = oneshot::channel();
    let key = key.clone();
    if store.deletions.push(Waiting { key, done }) {
        let thread = Thread(Some(Arc::clone(store)));
        spawn_blocking(move || thread.run());
    }
    result.await.map_err(unfinished).flatten()
}

impl Deletions {
    /// Adds a deletion. Returns `true` if it needs a thread.
    fn push(&self, waiting: Waiting) -> bool {
        let mut queue = self.lock();
        queue.waiting.push(waiting);
        !mem::replace(&mut queue.is_served, true)
    }

    /// Takes the next deletions. If there are none, the thread must end.
    fn next(&self) -> Vec<Waiting> {
        let mut queue = self.lock();
        let len = queue.waiting.len().min(GROUP);
        queue.is_served = len > 0;
        queue.waiting.drain(..len).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Thread {
    fn run(mut self) {
        let mut results: Vec<(oneshot::Sender<_>, _)> = Vec::new();
        while let Some(store) = &self.0 {
            let group = store.deletions.next();
            let keys: Vec<_> = group.iter().map(|waiting| &waiting.key).collect();
            let deleted = delete_all(store, &keys);
            if group.is_empty() {
                // Before the last results: whoever gets them may open the store again.
                self.0 = None;
            }
            for (done, result) in results.drain(..) {
                let _ = done.send(result);
            }
            results.extend(group.into_iter().map(|waiting| waiting.done).zip(deleted));
        }
    }
}

/// Lets fail what still waits, unless the thread has run to its end.
impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(store) = &self.0 {
            *store.deletions.lock() = Queue::default();
        }
    }
}

/// Removes the files under `keys`, durably. Returns the result for each. Blocks.
pub(super) fn delete_all(store: &Inner, keys: &[&BlobKey]) -> Vec<Result<()>> {
    if let Err(error) = store.ready() {
        return keys.iter().map(|_| Err(error.clone())).collect();
    }
    let _turns = store.locks.lock_all(keys);
    let targets: Vec<_> = keys.iter().map(|key| Target::find(&store.tree, key)).collect();
    let known = targets.iter().filter_map(|target| target.as_ref().ok()?.as_ref());
    let changes: Vec<_> = known.filter_map(Target::change).collect();
    let journaled = store.journal().map(|journal| journal.append_all(&changes));
    // Held until the pairs are removed.
    let mut unapplied = journaled.transpose().map(|unapplied| unapplied.into_iter().flatten());
    let remove = |target: Result<Option<Target<'_>>>| {
        let Some(target) = target? else { return Ok(()) };
        if target.version.is_none() {
            return remove_pair(&target.dir, &target.path);
        }
        let unapplied = unapplied.as_mut().map_err(|error| error.clone())?.next();
        if let Err(error) = remove(&target.dir, &target.path.file) {
            return Err(match unapplied {
                Some(unapplied) => unapplied.withdraw(error),
                None => error,
            });
        }
        // The media is removed, so the file is deleted.
        remove(&target.dir, &target.path.sidecar())?;
        store.tree.prune(&target.path)
    };
    targets.into_iter().map(remove).collect()
}

impl<'a> Target<'a> {
    /// Finds the file under `key`; `None` if there is none.
    fn find(tree: &Tree, key: &'a BlobKey) -> Result<Option<Self>> {
        let path = KeyPath::of(key);
        let Some(dir) = tree.find(&path)? else {
            return Ok(None);
        };
        let version = match tree::open(&dir, &path.file)? {
            Found::File(_, stat) => Some(Version::of(&stat).map_err(|error| failed("open the stored file", error))?),
            Found::Absent => None,
            Found::Directory(_) => return Ok(None),
            found => return Err(found.conflict(path.len())),
        };
        Ok(Some(Self { path, dir, version }))
    }

    /// Returns the change for the journal, if there is media.
    fn change(&self) -> Option<Change<'a>> {
        Some(Change {
            key: self.path.key,
            modified: Version::successor(Some(self.version?), SystemTime::now()),
            content: Content::Deleted,
            sidecar: None,
        })
    }
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

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use futures_util::future::join_all;

    use super::*;
    use crate::store::{BlobCatalog as _, BlobStore as _, FsStore, Upload};

    fn key(name: &str) -> BlobKey {
        BlobKey::from_path(&format!("ACC/{name}/message.mp3")).unwrap()
    }

    #[tokio::test]
    async fn deletions_at_once_each_have_their_own_result() {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        let names: Vec<_> = (0..3 * GROUP).map(|number| number.to_string()).collect();
        for name in &names {
            store.put(Upload::new(key(name), "ID3")).await.unwrap();
        }
        store.put(Upload::new(key("kept"), "ID3")).await.unwrap();
        symlink(root.path().join("ACC/kept"), root.path().join("ACC/link")).unwrap();
        // Enough groups that some files of one share a lock.
        let absent: Vec<_> = (0..2000).map(|number| format!("absent{number}")).collect();
        let all = names.iter().chain(&names).chain(&absent).map(|name| &**name);
        let keys: Vec<_> = all.chain(["link"]).map(key).collect();
        let mut deleted = join_all(keys.iter().map(|key| store.delete(key))).await;
        let refused = deleted.pop().unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict);
        assert!(deleted.iter().all(Result::is_ok));
        let left: Vec<_> = fs::read_dir(root.path().join("ACC")).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
        drop(store);
        FsStore::open(root.path()).unwrap();
    }

    #[tokio::test]
    async fn a_failure_of_the_journal_concerns_no_file_that_it_does_not_need() {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        let (stored, absent, link) = (key("stored"), key("absent"), key("link"));
        store.put(Upload::new(stored.clone(), "ID3")).await.unwrap();
        symlink(root.path().join("ACC/stored"), root.path().join("ACC/link")).unwrap();
        let journal = store.0.journal().unwrap();
        journal.sync_outside(|| Err(failed("sync", Errno::IO))).unwrap_err();
        let deleted = delete_all(&store.0, &[&stored, &absent, &link]);
        let kinds = deleted.into_iter().map(|result| result.map_err(|error| error.kind()));
        assert_eq!(
            kinds.collect::<Vec<_>>(),
            [Err(ErrorKind::Unavailable), Ok(()), Err(ErrorKind::Conflict)]
        );
        assert_eq!(store.head(&stored).await.unwrap().len, 3);
    }

    #[test]
    fn a_thread_that_does_not_run_to_its_end_delays_no_later_deletion() {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        let waiting = || {
            let (done, result) = oneshot::channel();
            (
                Waiting {
                    key: key("absent"),
                    done,
                },
                result,
            )
        };
        let ((first, mut result), (second, _)) = (waiting(), waiting());
        assert!(store.0.deletions.push(first));
        drop(Thread(Some(Arc::clone(&store.0))));
        assert_eq!(result.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(store.0.deletions.push(second), "no thread takes it");
    }
}
