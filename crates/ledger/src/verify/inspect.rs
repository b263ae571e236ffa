//! Looks at one file, and repairs its row.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobCatalog, BlobKey, BlobStore as _, Error, ErrorKind, Result,
    digest::{Digest, Digester},
    store::DynBlobStore,
};

use super::difference::{Content, Difference, DifferenceKind, compare};
use crate::{event, key_locks::KeyGuard, record::store_found, recorded::Recorded, reindex, removal::Removal};

/// The result of a repair.
enum Repair {
    Done,
    /// Another server has changed the file or is removing it.
    Changed,
    /// The ledger cannot agree with the store.
    Impossible,
}

/// Maximum number of looks at a file that other servers change while it is repaired.
const LOOKS: usize = 3;

impl<S: BlobCatalog> Recorded<S> {
    /// Returns `true` if the file under `key` is as `recorded`. Reads its content if there are `contents`.
    pub(super) async fn agrees(
        &self,
        key: &BlobKey,
        recorded: Content,
        contents: Option<&DynBlobStore>,
        bytes: &AtomicU64,
    ) -> bool {
        let Ok(Some(stored)) = self.stored(key).await else {
            return false;
        };
        if compare(Some(stored), Some(recorded)).is_some() {
            return false;
        }
        match contents {
            None => true,
            Some(contents) => {
                let read = digest(contents, key, bytes).await;
                read.is_ok_and(|read| recorded.sha256.is_none_or(|expected| read == expected))
            }
        }
    }

    /// Looks at the file under `key`, which no upload and no deletion of this process changes meanwhile. Repairs its row if
    /// `repair` is set.
    pub(super) async fn look_again(
        &self,
        key: BlobKey,
        repair: bool,
        contents: Option<&DynBlobStore>,
        bytes: &AtomicU64,
    ) -> Result<Option<Difference>> {
        let guard = Arc::new(self.locks.clone().lock(key.detached()).await);
        let (mut repaired, mut left) = (None, None);
        for _ in 0..LOOKS {
            let Some(seen) = self.look(&key, contents, bytes).await? else {
                return Ok(repaired);
            };
            if !repair {
                return Ok(Some(seen));
            }
            // The next look shows whether another server has changed the file meanwhile.
            match self.repair(&seen, &guard).await? {
                Repair::Done => drop(repaired.get_or_insert(Difference { repaired: true, ..seen })),
                Repair::Changed => left = Some(seen),
                Repair::Impossible => return Ok(Some(seen)),
            }
        }
        Ok(repaired.or(left))
    }

    async fn look(
        &self,
        key: &BlobKey,
        contents: Option<&DynBlobStore>,
        bytes: &AtomicU64,
    ) -> Result<Option<Difference>> {
        let recorded = self.ledger.content(key).await?;
        let difference = |kind, stored, error| Difference {
            key: key.detached(),
            kind,
            stored,
            recorded,
            error,
            repaired: false,
        };
        let stored = match self.stored(key).await {
            Ok(stored) => stored,
            Err(error) => return Ok(Some(difference(DifferenceKind::Unreadable, None, Some(error)))),
        };
        if let Some(kind) = compare(stored, recorded) {
            return Ok(Some(difference(kind, stored, None)));
        }
        let (Some(contents), Some(expected)) = (contents, recorded) else {
            return Ok(None);
        };
        Ok(match digest(contents, key, bytes).await {
            Ok(read) if expected.sha256.is_none_or(|expected| read == expected) => None,
            Ok(_) => Some(difference(DifferenceKind::Damaged, stored, None)),
            Err(error) if error.kind() == ErrorKind::Damaged => {
                Some(difference(DifferenceKind::Damaged, stored, Some(error)))
            }
            Err(error) => Some(difference(DifferenceKind::Unreadable, stored, Some(error))),
        })
    }

    /// Returns the content as the store describes it.
    async fn stored(&self, key: &BlobKey) -> Result<Option<Content>> {
        match self.inner.head(key).await {
            Err(error) if error.is_not_found() => Ok(None),
            info => info.map(|info| Some(Content::of(&info))),
        }
    }

    /// Makes the ledger agree with the store, if it can.
    async fn repair(&self, seen: &Difference, guard: &Arc<KeyGuard>) -> Result<Repair> {
        match seen.kind {
            // A row that a hold protects stays, as the last trace of the file.
            DifferenceKind::Gone => {
                return Ok(match self.remove_row(&seen.key, Arc::clone(guard)).await? {
                    Removal::Removed(_) => Repair::Done,
                    Removal::Absent => Repair::Changed,
                    Removal::Protected(_) => Repair::Impossible,
                });
            }
            DifferenceKind::Unrecorded | DifferenceKind::Differs => {
                let is_upload = seen.stored.is_some_and(|stored| stored.sha256.is_some());
                if seen.kind == DifferenceKind::Differs && !is_upload {
                    // The digest in the ledger may be the only one of the file as it was uploaded.
                    return Ok(Repair::Impossible);
                }
                if let Some(file) = reindex::describe(&self.inner, &seen.key).await? {
                    self.ledger.change(vec![store_found(&file, &event::new_id())]).await?;
                }
            }
            DifferenceKind::Damaged | DifferenceKind::Unreadable => return Ok(Repair::Impossible),
        }
        Ok(Repair::Done)
    }
}

/// Reads the content of the file under `key`.
async fn digest(contents: &DynBlobStore, key: &BlobKey, bytes: &AtomicU64) -> Result<Digest> {
    let blob = contents.get(key, None).await?.into_blob();
    let blob = blob.ok_or_else(|| Error::new(ErrorKind::Internal, "the store redirects the fetch"))?;
    let (mut body, mut digester) = (blob.body, Digester::new());
    while let Some(frame) = body.frame().await {
        let chunk = frame?.into_data().unwrap_or_default();
        bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        digester.update(&chunk);
    }
    Ok(digester.finish())
}
