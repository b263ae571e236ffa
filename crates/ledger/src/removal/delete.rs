//! Listing, and the removal of one file, under a condition.

use std::collections::BTreeSet;

use futures_core::Stream;
use kazoo_storage::{
    BlobCatalog, BlobKey, Result,
    store::{BlobEntry, Precondition},
};

use super::{
    cause::Cause,
    remove::{Removal, always},
};
use crate::recorded::Recorded;

impl<S: BlobCatalog> BlobCatalog for Recorded<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.delete_if(key, &Precondition::default()).await
    }
}

impl<S: BlobCatalog> Recorded<S> {
    /// Removes the file under `key` as [`delete`](BlobCatalog::delete) does, if the file in the store satisfies `precondition`.
    /// Otherwise, fails with [`ErrorKind::PreconditionFailed`](kazoo_storage::ErrorKind::PreconditionFailed).
    ///
    /// No upload through a clone of this store replaces the file between the check and the removal.
    pub async fn delete_if(&self, key: &BlobKey, precondition: &Precondition) -> Result<()> {
        let key = key.detached();
        let guard = self.locks.clone().lock(key.clone()).await;
        precondition.check_in(&self.inner, &key).await?;
        let keys = BTreeSet::from([key.clone()]);
        let mut results = self.remove_locked(keys, guard, Cause::Operator, always()).await;
        match results.remove(&key) {
            Some(Ok(Removal::Protected(protection))) => Err(protection.refusal(&key)),
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kazoo_storage::{BlobStore as _, ErrorKind, MemoryStore, Upload};

    use super::*;
    use crate::Ledger;

    #[tokio::test]
    async fn a_file_that_is_replaced_before_the_removal_begins_stays() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        let files = MemoryStore::new();
        let store = Recorded::new(files.clone(), ledger);
        let key = BlobKey::from_segments(["A", "D", "1"]).unwrap();
        store.put(Upload::new(key.clone(), "old")).await.unwrap();
        let precondition = Precondition::if_match(&files.head(&key).await.unwrap().etag.unwrap());

        // An upload has this lock when it replaces the file.
        let guard = store.locks.clone().lock(key.clone()).await;
        let (deleted, ()) = tokio::join!(store.delete_if(&key, &precondition), async {
            files.put(Upload::new(key.clone(), "new")).await.unwrap();
            drop(guard);
        });
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::PreconditionFailed);
        assert_eq!(files.head(&key).await.unwrap().len, 3);

        let precondition = Precondition::if_match(&files.head(&key).await.unwrap().etag.unwrap());
        store.delete_if(&key, &precondition).await.unwrap();
        assert!(files.head(&key).await.unwrap_err().is_not_found());
    }
}
