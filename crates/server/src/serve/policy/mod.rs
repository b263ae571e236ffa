//! [`PolicyFile`]: the policy in the file of `--policy`, and the task that applies it.

mod pruning;
mod retention;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use kazoo_storage::store::DynBlobCatalog;
use kazoo_storage_ledger::{
    Ledger,
    quota::{Limited, Quotas},
};
use tokio::{sync::Notify, task::spawn_blocking};

pub(super) use self::retention::apply;
use crate::policy_file::{Content, DAY, read};

/// The file of the policy of a ledger.
pub(super) struct PolicyFile {
    file: PathBuf,
    ledger: Ledger,
    /// The store, with the quotas of the policy.
    limited: Limited<DynBlobCatalog>,
    /// As in [`Content`], or 0.
    audit_days: AtomicU32,
    /// Wakes the task that applies the policy.
    reloaded: Notify,
}

impl PolicyFile {
    /// Sets `content`, which was read from `file`, for `ledger` and for the uploads to `store`.
    pub(super) fn new(file: PathBuf, content: Content, ledger: Ledger, store: DynBlobCatalog) -> Self {
        let limited = Limited::new(store, ledger.clone(), Quotas::new());
        tokio::spawn({
            let limited = limited.clone();
            async move { limited.keep_current().await }
        });
        let this = Self {
            file,
            ledger,
            limited,
            audit_days: AtomicU32::default(),
            reloaded: Notify::new(),
        };
        this.set(content);
        this
    }

    fn set(&self, content: Content) {
        self.ledger.set_policy(content.retention);
        self.limited.set_quotas(content.quotas);
        self.audit_days
            .store(content.audit_days.unwrap_or_default(), Ordering::SeqCst);
    }

    /// Returns the store with the quotas.
    pub(super) fn limited(&self) -> DynBlobCatalog {
        DynBlobCatalog::new(self.limited.clone())
    }

    fn audit_days(&self) -> Option<u32> {
        Some(self.audit_days.load(Ordering::SeqCst)).filter(|days| *days > 0)
    }

    /// Reads the file again. If it is invalid, nothing changes.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let file = self.file.clone();
        let read = spawn_blocking(move || read(&file)).await;
        self.set(read.map_err(|error| error.to_string())??);
        self.reloaded.notify_one();
        Ok(())
    }
}
