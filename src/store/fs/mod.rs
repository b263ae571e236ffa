//! [`FsStore`]: plain files on a Unix file system.

mod cached;
mod catalog;
mod commit;
mod error;
mod fault;
mod hot;
mod journal;
mod locks;
mod loners;
mod name;
mod read;
mod recovery;
mod scrub;
mod set_aside;
mod sidecar;
mod stage;
mod sync;
mod throttle;
mod tree;
mod version;

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::task::JoinError;

use self::{
    hot::HotFiles, journal::Journal, locks::Locks, name::KeyPath, recovery::Recovery, sidecar::Facts, stage::Staged,
    tree::Tree,
};
pub use self::{
    scrub::{Damage, FsScrub, Scrubbed, Verdict},
    set_aside::SetAside,
};
use super::{BlobInfo, BlobStore, ByteRange, Fetched, Stored, Upload};
use crate::{
    digest::Digester,
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// How many bytes of an upload are gathered before they are written. What fits is stored in one go.
const GATHER: usize = 64 << 10;

/// Keeps files as plain files below a root directory, where an operator can read, copy and back them up.
///
/// A clone is the same store. It works on any Unix, and its methods need a Tokio runtime around them: the file system
/// is used from Tokio's blocking threads.
///
/// ```no_run
/// use kazoo_storage::store::FsStore;
///
/// let store = FsStore::open("/var/lib/kazoo-storage")?;
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
///
/// # What is where
///
/// ```text
/// ROOT/ACCOUNT_ID/DOCUMENT_ID/message.mp3          the media, exactly the bytes that were uploaded
/// ROOT/ACCOUNT_ID/DOCUMENT_ID/.message.mp3.json    its sidecar: what else there is to know about it
/// ROOT/.stage/                                     uploads under way, the journal, and the lock of the root
/// ROOT/.set-aside/                                 what could not be put in its place after a crash
/// ROOT/.check/                                     for a moment, while the store is checked
/// ```
///
/// **The media** is a directory for each segment of the key but the last, and a file for that. A segment is its file
/// name, but for `%` → `%25`, `/` → `%2F`, a leading `.` → `%2E`, and `lost+found` → `%6Cost+found`; every name with a
/// leading dot is the store's own, and `lost+found` the file system's.
/// A file name contains a dot: a name without one gets the suffix `%file`, as in `ACC/DOC/message%file`. A directory
/// name contains no dot: a name with one gets the suffix `%dir`, as in `v1.2%dir/message.mp3`. So a file `a` and files
/// beneath `a` are stored side by side.
/// A segment whose name is over 240 bytes is cut into several, nested, each but the last of which ends in a bare `%`.
/// A path below the root has at most 2560 bytes, and that of the root at most 1024, so that every program can use them.
/// On a file system that ignores case, names that differ in case only are one file.
///
/// **The sidecar** of every upload is JSON: `jq .metadata .message.mp3.json` is the document as KAZOO sent it, if it sent
/// one, and `.content_type` the media type. `.sha256` is the [`Digest`](crate::digest::Digest) of the media, made while it was
/// received: `sha256sum message.mp3` prints the same for as long as the disk keeps it. `version` says which content it
/// is about: its modification time and length as `stat -c %.9Y-%s message.mp3` prints them. While the store replaces a
/// file, and until it does so again, the older content's entry stays under `previous`. `crc32` is a checksum of the entry
/// itself.
///
/// The modification time of the media is when it was stored, and ties it to its sidecar. So copy with times: `cp -a`,
/// `rsync -a` and any `tar` do; where only whole seconds survive, the sidecar is still recognised. A copy taken while
/// files are being stored may pair a sidecar with media of another version, which then counts as none. A file without a
/// sidecar is a complete one: media put there by hand can be fetched, and media that is removed, with its sidecar, is
/// gone. The entity tag is the digest, so it stays if the same bytes come again; for want of one, it is the version. `.stage/` is not part of a backup, and while the
/// store is open nothing in it may be touched.
///
/// Directories are made for owner and group (`0750`), and files too (`0640`), both subject to the umask.
///
/// # What is durable when
///
/// When [`put`](BlobStore::put) returns `Ok`, media and sidecar are in their place, and they are fsynced: up to 64 KiB
/// of media in the journal (`.stage/journal.0` and `.1`), longer media as a file, the sidecar and the way to the two
/// always in the journal. Uploads that come at the same time share that fsync. A crash or a loss of power at any time
/// leaves each key with the whole old pair of content and metadata or the whole new one, once the root was opened
/// again: opening does what the journal has and the crash undid, and removes what was left in `.stage/`. Every 8 MiB
/// the store has the file system written out (`syncfs`) and starts the journal anew, and so it does when it is dropped.
///
/// That is so on Linux since 5.8. On other systems the store relies on `sync`, which may return before the disk is done
/// there. And on a file system without a journal of its own (ext4 can be made so), media of more than 64 KiB is safe
/// from a loss of power only once the file system was written out.
///
/// Whoever reads the files without the store after a crash, from a copy of the disk for example, opens the store once
/// before. What was removed by hand shortly before a crash (within the last 16 MiB of uploads) may be back after it; what
/// was [deleted](crate::BlobCatalog::delete) is not.
///
/// If the disk fails to sync, every upload is [`ErrorKind::Unavailable`] until the store is opened again: what the
/// kernel still has to write can no longer be known. An upload that failed because the disk did, and was not sent again,
/// may be there then, whole.
///
/// A recovery does not redo a refused upload or deletion. An acknowledged one that cannot be applied when the root is
/// opened, for example because someone has put something else in its place, is [set aside](Self::set_aside) as plain
/// files, and the store serves everything else. If there is no space for that either, the journal is kept, and the
/// store is [unrecovered](Self::unrecovered): it refuses uploads until there is space.
///
/// [`FsOptions::durable`] gives all of that up, for tests and for data that may be lost.
///
/// # What is refused
///
/// - a second store on the same root, of any process: the root is locked while the store or one of its uploads lives;
/// - symbolic links below the root: they are never followed, and a key that leads through one is
///   [`ErrorKind::Conflict`] (the root itself may be one);
/// - something that somebody put in the place of a file or directory of the store: [`ErrorKind::Conflict`], and the
///   message has its position in the path;
/// - a name whose path is too long: [`ErrorKind::InvalidKey`];
/// - what the file system refuses: [`ErrorKind::StorageFull`] if it has no room, [`ErrorKind::InvalidKey`] if it cannot
///   hold the name, and otherwise [`ErrorKind::Unavailable`] with the [`std::io::Error`] as the source.
///
/// # What it holds in memory
///
/// For an upload at most 64 KiB and one chunk of the body, whatever its length; for a fetch one chunk of 128 KiB; and
/// the sidecar while it is read or written. A fetch of at most 64 KiB is read whole before the answer starts. The store
/// as a whole keeps up to 32 MiB of the files of at most 64 KiB that are fetched again and again, as greetings are; they
/// are served from there only while the file is still the same.
#[derive(Clone, Debug)]
pub struct FsStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tree: Tree,
    stage: Arc<stage::Stage>,
    locks: Locks,
    hot: HotFiles,
    /// Unset in a store that is not durable, and until the recovery is finished.
    journal: OnceLock<Journal>,
    recovery: Recovery,
    durable: bool,
    /// Whether what is fetched is compared with its digest.
    verify: bool,
}

impl FsStore {
    /// Opens the store in `root`, durable; makes the directory if there is none.
    ///
    /// Blocks, as long as the file system takes to write out what it holds. [`ErrorKind::Conflict`] if another store
    /// has the same root open.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        Self::options().open(root)
    }

    /// The options to open a store with.
    #[must_use]
    pub fn options() -> FsOptions {
        FsOptions {
            durable: true,
            verify: false,
        }
    }

    /// Returns the changes that this store, or an earlier one in its root, set aside because a recovery could not apply
    /// them. They stay there until the operator restores or removes them. Blocks.
    pub fn set_aside(&self) -> Result<Vec<SetAside>> {
        set_aside::list(self.0.tree.root())
    }

    /// Returns the reason why the store refuses uploads and deletions, and some fetches fail: recovery after a crash
    /// is unfinished because the disk is full. The store finishes it once there is space.
    #[must_use]
    pub fn unrecovered(&self) -> Option<Error> {
        self.0.recovery.error()
    }

    #[cfg(test)]
    fn inner(&self) -> &Inner {
        &self.0
    }
}

/// How to open an [`FsStore`].
///
/// ```
/// use kazoo_storage::store::FsStore;
///
/// # let root = tempfile::tempdir().unwrap();
/// let for_tests = FsStore::options().durable(false).open(root.path())?;
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FsOptions {
    durable: bool,
    verify: bool,
}

impl FsOptions {
    /// Whether an upload is on the disk, and not only in the kernel's memory, before it is answered. By default it is.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Whether a fetch of a whole file compares its bytes with their [`Digest`](crate::digest::Digest), and is
    /// [`ErrorKind::Damaged`] instead of wrong. By default it does not.
    ///
    /// A file of more than 64 KiB is verified while it is sent: its body then ends with the error in place of the last
    /// chunk, of at most 128 KiB. A range is not verified. Damaged too is media with a sidecar that is about another
    /// content, or not as the store wrote it; media without one cannot be verified, and is fetched as it is.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Opens the store in `root`, as [`FsStore::open`] does.
    pub fn open(&self, root: impl AsRef<Path>) -> Result<FsStore> {
        let tree = Tree::open(root.as_ref())?;
        let stage = Arc::new(stage::Stage::open(tree.root())?);
        let store = Inner {
            tree,
            stage,
            locks: Locks::new(),
            hot: HotFiles::new(),
            journal: OnceLock::new(),
            recovery: Recovery::default(),
            durable: self.durable,
            verify: self.verify,
        };
        store.recover()?;
        Ok(FsStore(Arc::new(store)))
    }
}

/// Writes the whole file system out.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn sync_all(root: &std::fs::File) -> rustix::io::Result<()> {
    rustix::fs::syncfs(root)
}

/// Writes every file system out.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps)]
fn sync_all(_: &std::fs::File) -> rustix::io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// Runs `work` where it may block.
async fn blocking<T, W>(work: W) -> Result<T>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T> + Send + 'static,
{
    joined(tokio::task::spawn_blocking(work).await)
}

fn joined<T>(result: Result<Result<T>, JoinError>) -> Result<T> {
    result.unwrap_or_else(|error| {
        let message = "the storage's work was cut off: the runtime is shutting down, or the store has a defect";
        Err(Error::new(ErrorKind::Internal, message).with_source(error))
    })
}

/// Sets its flag when it is dropped.
struct SetOnDrop(Arc<AtomicBool>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Inner {
    /// Writes `gathered` and `data` to the end of what is staged.
    fn write(&self, staged: Option<Staged>, gathered: &[u8], data: &Bytes) -> Result<Staged> {
        let mut staged = staged.map_or_else(|| self.stage.create(), Ok)?;
        staged.write(gathered)?;
        staged.write(data)?;
        Ok(staged)
    }
}

impl BlobStore for FsStore {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        let Upload {
            key,
            mut body,
            content_type,
            metadata,
            len,
            precondition,
        } = upload;
        KeyPath::of(&key).check()?;
        if !self.0.recovery.is_done() {
            // Before the body takes the room that the recovery waits for.
            let store = Arc::clone(&self.0);
            blocking(move || store.ready()).await?;
        }
        let expected = len.and_then(|len| usize::try_from(len).ok()).unwrap_or(GATHER);
        // Small chunks are copied: kept as they come, each would pin the whole buffer it was cut from.
        let mut gathered = Vec::with_capacity(expected.min(GATHER));
        let mut staged = None;
        let mut digester = Digester::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if gathered.len() + data.len() <= GATHER {
                digester.update(&data);
                gathered.extend_from_slice(&data);
                continue;
            }
            let store = Arc::clone(&self.0);
            // The allocating thread frees the chunk: only then do allocators reuse its memory at once.
            (staged, gathered, digester, _) = blocking(move || {
                digester.update(&data);
                let staged = store.write(staged, &gathered, &data)?;
                gathered.clear();
                Ok((Some(staged), gathered, digester, data))
            })
            .await?;
        }
        let given_up = Arc::new(AtomicBool::new(false));
        let _guard = SetOnDrop(Arc::clone(&given_up));
        let store = Arc::clone(&self.0);
        blocking(move || {
            let rest = Bytes::from(gathered);
            let whole = staged.is_none().then_some(&rest);
            let media = store.write(staged, &rest, &Bytes::new())?;
            let facts = Facts {
                digest: Some(digester.finish()),
                content_type,
                metadata,
            };
            commit::commit(&store, &key, media, whole, &facts, &precondition, &given_up)
        })
        .await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        self.0.recovery.settled(key)?;
        if let Some(fetched) = read::fetch_cached(&self.0, key, range) {
            return fetched;
        }
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || read::fetch(&store, &key, range)).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.0.recovery.settled(key)?;
        if let Some(info) = read::info_cached(&self.0, key) {
            return info;
        }
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || Ok(read::find(&store, &key)?.info(&key))).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.recovery.settled(key)?;
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || Ok(read::find(&store, &key)?.facts.metadata)).await
    }

    async fn check(&self) -> Result<()> {
        let store = Arc::clone(&self.0);
        blocking(move || {
            store.ready()?;
            match store.journal() {
                None => store.stage.check(|_| Ok(()))?,
                Some(journal) => {
                    journal.check()?;
                    store.stage.check(|staged| journal.sync_besides(|| staged.sync()))?;
                }
            }
            store.tree.check()
        })
        .await
    }
}
