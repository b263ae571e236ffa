//! [`FsStore`]: plain files on a Unix file system.
//!
//! - An upload: [`upload`] receives the body, [`stage`] holds it in `.stage/`, [`commit`] appends the change to the
//!   [`journal`] and puts [`sidecar`] and media at their paths.
//! - A fetch: [`lookup`] finds media and sidecar, [`fetch`] builds the response, [`body`] streams it. [`nonblocking`]
//!   reads from the page cache without a blocking thread. [`hot`] caches small files, checked by their [`stamp`].
//! - A deletion or a listing: [`delete`]; [`catalog`], over [`walk`].
//! - A crash: [`recovery`] applies the journal again and removes what is left in `.stage/`. [`set_aside`] keeps changes
//!   that cannot be applied.
//! - A damaged disk: [`scrub`] compares every file with the digest of its upload.
//! - [`name`] converts keys to names, [`tree`] opens and makes directories, [`version`] identifies a content, [`locks`]
//!   orders the changes of a key, [`format`](self::format) detects the layout of a newer version, [`sync`] measures syncs,
//!   [`fault`] injects errors in tests.

mod body;
mod catalog;
mod commit;
mod delete;
mod error;
mod fault;
mod fetch;
mod format;
mod hot;
mod journal;
mod locks;
mod lookup;
mod name;
mod nonblocking;
mod options;
mod recovery;
mod scrub;
mod set_aside;
mod sidecar;
mod stage;
mod stamp;
mod sync;
mod tree;
mod upload;
mod version;
mod walk;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use tokio::task::JoinError;

use self::{
    delete::Deletions, hot::HotFiles, journal::Journal, locks::Locks, recovery::Recovery, stage::Stage, tree::Tree,
};
pub use self::{
    options::FsOptions,
    scrub::{Damage, FsScrub, Scrubbed, Verdict},
    set_aside::SetAside,
};
use super::{BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// Stores files as plain files below a root directory, where an operator can read, copy and back them up.
///
/// Clones share one store. It works on any Unix. Its methods need a Tokio runtime: they access the file system from
/// Tokio's blocking threads.
///
/// ```no_run
/// use kazoo_storage::store::FsStore;
///
/// let store = FsStore::open("/var/lib/kazoo-storage")?;
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
///
/// # Layout
///
/// ```text
/// ROOT/ACCOUNT_ID/DOCUMENT_ID/message.mp3          the media: exactly the bytes of the upload
/// ROOT/ACCOUNT_ID/DOCUMENT_ID/.message.mp3.json    its sidecar: content type, metadata, digest
/// ROOT/.stage/                                     unfinished uploads, the journal, and the lock of the root
/// ROOT/.set-aside/                                 changes that a recovery could not apply
/// ROOT/.check/                                     exists briefly during a check
/// ROOT/.format                                     does not exist: it would mark the layout of a newer version
/// ```
///
/// **The media** is a file. The last segment of the key is its name, and the others are its directories. A name is the
/// segment itself, except for `%` → `%25`, `/` → `%2F`, a leading `.` → `%2E`, and `lost+found` → `%6Cost+found`: names
/// with a leading dot belong to the store, and `lost+found` to the file system.
///
/// A file name contains a dot; a name without one gets the suffix `%file`, as in `ACC/DOC/message%file`. A directory
/// name contains no dot; a name with one gets the suffix `%dir`, as in `v1.2%dir/message.mp3`. So a file `a` and files
/// beneath `a` can be stored side by side. A segment whose name exceeds 240 bytes is split into several nested names,
/// of which all but the last end with a bare `%`. A path below the root has at most 2560 bytes, and the path of the
/// root at most 1024, so that every program can use them. On a file system that ignores case, names that differ only in
/// case are one file.
///
/// **The sidecar** of every upload is JSON: `jq .metadata .message.mp3.json` prints the metadata document as KAZOO sent
/// it, and `.content_type` the media type. `.sha256` is the [`Digest`](crate::digest::Digest) of the upload:
/// `sha256sum message.mp3` prints the same as long as the media is intact. `version` identifies the content by
/// modification time and length, as `stat -c %.9Y-%s message.mp3` prints them. The entry of the replaced content stays
/// under `previous` until the next upload. `crc32` is a checksum of the entry.
///
/// The modification time of the media is the time of its upload, and ties it to its sidecar, so copies must preserve
/// it: `cp -a`, `rsync -a` and any `tar` do. If only whole seconds survive, the sidecar still matches. A copy taken
/// during uploads may contain a partial sidecar, or pair one with another version of the media. The store then
/// ignores the sidecar or, with [`FsOptions::verify`], reports the file as [`ErrorKind::Damaged`], as [`FsScrub`] does.
/// Media without a sidecar is a complete file: the operator can add media by hand, and remove media with its sidecar.
/// The entity tag is the digest, so it stays the same if the same bytes are uploaded again; without a digest, it is the
/// version. `.stage/` does not belong in a backup, and must not be touched while the store is open.
///
/// Directories are created with mode `0750`, files with `0640`, both subject to the umask.
///
/// # Durability
///
/// When [`put`](BlobStore::put) returns `Ok`, media and sidecar are at their paths and synced. The journal
/// (`.stage/journal.0` and `.1`) contains the path, the sidecar, and media up to 64 KiB; longer media is synced as a
/// file. Concurrent uploads share a sync of the journal. After a crash or a loss of power, and once the root is opened
/// again, each key has either the complete old pair of content and metadata or the complete new one: opening applies
/// the journal, and clears `.stage/`. Every 8 MiB, and when it is dropped, the store writes out the file system
/// (`syncfs`) and empties the journal.
///
/// This holds on Linux since 5.8. On other systems, the store relies on `sync`, which may return before the disk has
/// finished. On a file system without a journal of its own (an option of ext4), media over 64 KiB survives a loss of
/// power only after the file system is written out.
///
/// To read the files without the store after a crash, for example from a copy of the disk, open the store once first.
/// A file that was removed by hand within the last 16 MiB of uploads before a crash may reappear. A file that was
/// [deleted](crate::BlobCatalog::delete) does not.
///
/// After a failed sync, every upload is [`ErrorKind::Unavailable`] until the store is opened again, because it is
/// unknown what the kernel still has to write. An upload that failed because of the disk may exist after that,
/// but only as a whole.
///
/// A recovery does not apply refused uploads or deletions. If it cannot apply an acknowledged one, for example because
/// someone put something else at its path, it [sets it aside](Self::set_aside) as plain files, and the store serves
/// everything else. If there is no space for that either, it keeps the journal, and the store is
/// [unrecovered](Self::unrecovered): it refuses uploads until there is space.
///
/// [`FsOptions::durable`] turns all of this off, for tests and for data that may be lost.
///
/// # Errors
///
/// - [`ErrorKind::Conflict`] for a second store on the same root, in any process: the root is locked while the store or
///   one of its uploads lives.
/// - [`ErrorKind::Conflict`] for a root with the layout of a newer version.
/// - [`ErrorKind::Conflict`] for a key whose path leads through a symbolic link, which is never followed. The root
///   itself may be one.
/// - [`ErrorKind::Conflict`] if something else is at the path of a file or directory of the store. The message contains
///   its position in the path.
/// - [`ErrorKind::InvalidKey`] for a name whose path is too long, or that the file system cannot represent.
/// - [`ErrorKind::StorageFull`] if the file system or a quota is full.
/// - [`ErrorKind::Unavailable`] for every other error of the file system, with the [`std::io::Error`] as the source.
///
/// # Memory
///
/// An upload holds at most 64 KiB and one chunk of its body, a fetch one chunk of 128 KiB, and both the sidecar while
/// it is read or written. A file of at most 64 KiB is read completely before the response starts. The store caches up
/// to 32 MiB of such files that are fetched repeatedly, and serves them from the cache while they are unchanged.
#[derive(Clone, Debug)]
pub struct FsStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Unset in a store that is not durable, and until the recovery is finished. Dropped before `stage`, so that the
    /// root is locked until the journal is closed.
    journal: OnceLock<Journal>,
    tree: Tree,
    stage: Arc<Stage>,
    locks: Locks,
    deletions: Deletions,
    hot: HotFiles,
    recovery: Recovery,
    durable: bool,
    /// `true` if fetched files are compared with their digests.
    verify: bool,
}

impl FsStore {
    /// Opens a durable store in `root`. Creates the directory if it does not exist.
    ///
    /// Blocks until the file system is synced. [`ErrorKind::Conflict`] if another store has the root
    /// open.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(root)
    }

    /// Returns the default options, to change before opening a store.
    #[must_use]
    pub fn options() -> FsOptions {
        FsOptions::new()
    }

    /// Returns the changes that this store, or an earlier one in its root, set aside because a recovery could not apply
    /// them. They stay there until the operator restores or removes them. Blocks.
    pub fn set_aside(&self) -> Result<Vec<SetAside>> {
        set_aside::list(self.0.tree.root())
    }

    /// Returns the reason why the store refuses uploads and deletions, and some fetches fail: recovery after a crash
    /// is unfinished because the disk is full. The store finishes it once there is space. `None` if the recovery is complete.
    #[must_use]
    pub fn unrecovered(&self) -> Option<Error> {
        self.0.recovery.error()
    }

    #[cfg(test)]
    fn inner(&self) -> &Inner {
        &self.0
    }
}

impl BlobStore for FsStore {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        upload::put(&self.0, upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.0.recovery.settled(key)?;
        if let Some(fetched) = fetch::fetch_nonblocking(&self.0, key, range) {
            return fetched;
        }
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || fetch::fetch(&store, &key, range)).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        Ok(self.describe(key).await?.0)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        Ok(self.describe(key).await?.1)
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.0.recovery.settled(key)?;
        if let Some(found) = lookup::find_nonblocking(&self.0, key) {
            return Ok(found?.0.described(key));
        }
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || Ok(lookup::find(&store, &key)?.described(&key))).await
    }

    async fn check(&self) -> Result<()> {
        let store = Arc::clone(&self.0);
        blocking(move || {
            store.ready()?;
            match store.journal() {
                None => store.stage.check(|_| Ok(()))?,
                Some(journal) => {
                    journal.check()?;
                    store.stage.check(|staged| journal.sync_outside(|| staged.sync()))?;
                }
            }
            store.tree.check()
        })
        .await
    }
}

/// Runs `work` on a blocking thread.
async fn blocking<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T>, JoinError>) -> Result<T> {
    result.map_err(unfinished).flatten()
}

/// Returns the error for work that a thread did not finish.
fn unfinished(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let message =
        "the storage did not finish its work: the runtime is shutting down, or a thread of the store panicked";
    Error::new(ErrorKind::Internal, message).with_source(error)
}
