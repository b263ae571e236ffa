//! [`FsOptions`]: the options to open a store with.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use super::{
    FsStore, Inner, delete::Deletions, format, hot::HotFiles, locks::Locks, recovery::Recovery, stage::Stage,
    tree::Tree,
};
use crate::error::Result;

/// The options to open an [`FsStore`] with.
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
    pub(super) fn new() -> Self {
        Self {
            durable: true,
            verify: false,
        }
    }

    /// Makes an upload durable on the disk, not only in the page cache, before it is acknowledged. On by default.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Compares a fetched file with its [`Digest`](crate::digest::Digest), and returns
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) if they differ. Off by default.
    ///
    /// A file over 64 KiB is verified while it is sent: its body then ends with the error instead of the last chunk, of
    /// at most 128 KiB. A range is not verified. Media also counts as damaged if its sidecar describes another content
    /// or was changed. Media without a sidecar cannot be verified and is fetched as it is.
    #[must_use]
    pub fn verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Opens the store in `root`, as [`FsStore::open`] does.
    pub fn open(&self, root: impl AsRef<Path>) -> Result<FsStore> {
        let tree = Tree::open(root.as_ref())?;
        let stage = Arc::new(Stage::open(tree.root())?);
        // With the lock, so that no newer program changes the layout meanwhile.
        format::check(&tree)?;
        let store = Inner {
            journal: OnceLock::new(),
            tree,
            stage,
            locks: Locks::new(),
            deletions: Deletions::default(),
            hot: HotFiles::default(),
            recovery: Recovery::default(),
            durable: self.durable,
            verify: self.verify,
        };
        store.recover()?;
        Ok(FsStore(Arc::new(store)))
    }
}
