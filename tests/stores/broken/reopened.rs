//! [`Reopened`]: a store that violates the contract only when it is opened again.

use std::{collections::BTreeSet, future::ready, sync::Mutex, time::SystemTime};

use futures_util::{Stream, TryStreamExt as _};
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, MemoryStore, Metadata,
    PutResult, Result, Upload, store::BlobEntry,
};

use super::store::drain;

/// The files of a store that is closed.
#[derive(Default)]
pub(super) struct Place {
    disk: MemoryStore,
    /// The uploads that failed.
    journal: MemoryStore,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Loss {
    Everything,
    Metadata,
    Dates,
    Replacements,
    KeepsFailedUploads,
    Listing,
    Deletions,
}

pub(super) struct Reopened {
    disk: MemoryStore,
    journal: MemoryStore,
    /// What is lost when the store is dropped.
    memory: MemoryStore,
    /// The keys that were stored since the store was opened.
    stored: Mutex<BTreeSet<BlobKey>>,
    /// The keys that were deleted since the store was opened, with [`Loss::Deletions`].
    deleted: Mutex<BTreeSet<BlobKey>>,
    opened: SystemTime,
    loss: Loss,
}

impl Reopened {
    pub(super) async fn open(place: &Place, loss: Loss) -> Self {
        for entry in place.journal.list(None).try_collect::<Vec<_>>().await.unwrap() {
            let blob = place.journal.get(&entry.key, None).await.unwrap().into_blob().unwrap();
            place.disk.put(Upload::new(entry.key, blob.body)).await.unwrap();
        }
        Self {
            disk: place.disk.clone(),
            journal: place.journal.clone(),
            memory: MemoryStore::new(),
            stored: Mutex::default(),
            deleted: Mutex::default(),
            opened: SystemTime::now(),
            loss,
        }
    }

    /// Returns the store that has the file.
    async fn home(&self, key: &BlobKey) -> Result<&MemoryStore> {
        if keys(&self.deleted).contains(key) {
            return Err(Error::new(ErrorKind::NotFound, "deleted"));
        }
        Ok(match self.memory.head(key).await {
            Ok(_) => &self.memory,
            Err(_) => &self.disk,
        })
    }
}

/// Returns a copy of the set.
fn keys(set: &Mutex<BTreeSet<BlobKey>>) -> BTreeSet<BlobKey> {
    set.lock().unwrap().clone()
}

impl BlobStore for Reopened {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        let replaced = self.head(&upload.key).await.is_ok();
        let is_lost = match self.loss {
            Loss::Everything => true,
            Loss::Replacements => replaced,
            Loss::Metadata | Loss::Dates | Loss::KeepsFailedUploads | Loss::Listing | Loss::Deletions => false,
        };
        let (content, error) = drain(upload.body).await;
        upload.body = content.clone().into();
        if let Some(error) = error {
            if self.loss == Loss::KeepsFailedUploads {
                self.journal.put(upload).await?;
            }
            return Err(error);
        }
        if self.loss == Loss::Metadata {
            let lost = Upload::new(upload.key.clone(), content).with_content_type(upload.content_type.clone());
            self.disk.put(lost).await?;
        }
        let home = if is_lost || self.loss == Loss::Metadata {
            &self.memory
        } else {
            &self.disk
        };
        let key = upload.key.clone();
        home.put(upload).await?;
        self.deleted.lock().unwrap().remove(&key);
        self.stored.lock().unwrap().insert(key);
        Ok(if replaced {
            PutResult::Replaced
        } else {
            PutResult::Created
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.home(key).await?.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        let info = self.home(key).await?.head(key).await?;
        Ok(match self.loss {
            Loss::Dates => info.with_modified(self.opened),
            _ => info,
        })
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.home(key).await?.metadata(key).await
    }
}

impl BlobCatalog for Reopened {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let (loss, stored, deleted) = (self.loss, keys(&self.stored), keys(&self.deleted));
        let entries = self.disk.list(prefix);
        entries.try_filter(move |entry| {
            let is_listed = loss != Loss::Listing || stored.contains(&entry.key);
            ready(is_listed && !deleted.contains(&entry.key))
        })
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        if self.loss == Loss::Deletions {
            self.deleted.lock().unwrap().insert(key.clone());
            return Ok(());
        }
        self.disk.delete(key).await
    }
}
