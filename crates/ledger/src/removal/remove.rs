//! The removal of files: the only way by which a file is deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kazoo_storage::{BlobCatalog, BlobKey, Error, ErrorKind, Result};
use tokio::time::Instant;

use super::{
    cause::Cause,
    statements::{Replaceable, audited, beginning, ending, forgetting, intent, locking, running},
};
use crate::{
    database::Engine,
    event::{self, EventKind},
    file::FileRecord,
    key_locks::KeyGuard,
    measure,
    protection::{Discovered, Found, Protection, find},
    record::unrecorded,
    recorded::Recorded,
    rows::read,
};

/// Maximum number of files of a batch, which one transaction removes. With [`BATCHES`], it bounds the time for which uploads wait.
const BATCH: usize = 128;

/// Number of batches that are removed at once: while the store removes the files of one, the ledger records those of another.
const BATCHES: usize = 4;

/// The same with PostgreSQL. One transaction may have several batches, in any order, and two servers that remove the same files would wait
/// for each other.
#[cfg(feature = "postgres")]
const BATCHES_SHARED: usize = 1;

/// Time in which the removals of a batch from the store begin. One that began later might end after another server has taken it over,
/// and remove a file of a later upload.
const LATEST: Duration = Duration::from_secs(150);

/// Number of files of a batch that are removed from the store at once. An object store answers after milliseconds.
const CONCURRENT: usize = 32;

/// The result of the removal of a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Removal {
    /// The file is removed. Its record has no metadata.
    Removed(Box<FileRecord>),
    /// There is no such file.
    Absent,
    /// The file is protected, and unchanged.
    Protected(Protection),
}

/// A removal whose intent is recorded.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) key: BlobKey,
    /// The id of its event, which the intent has.
    pub(super) event: String,
    pub(super) cause: Cause,
    pub(super) file: FileRecord,
}

/// The condition of [`Recorded::remove_if`].
type Condition = Arc<dyn Fn(&FileRecord) -> bool + Send + Sync>;

pub(super) type Results = BTreeMap<BlobKey, Result<Removal>>;

/// Returns the condition that each file satisfies.
pub(super) fn always() -> Condition {
    Arc::new(|_| true)
}

impl<S: BlobCatalog> Recorded<S> {
    /// Removes the files under `keys` from the store and from the ledger, with their events. Returns the result for each key.
    ///
    /// A file that a hold or the policy protects stays. If a removal fails, the file may still exist, and the same call can be
    /// repeated. With PostgreSQL, it fails with [`ErrorKind::Unavailable`] while another server is removing the file, and for five minutes
    /// after that server could not end the removal.
    ///
    /// Files are removed in batches of at most 128, with SQLite four at once. If the future is dropped, those that have begun are
    /// completed.
    pub async fn remove(&self, keys: &[BlobKey], cause: Cause) -> Vec<Result<Removal>> {
        self.remove_if(keys, cause, always()).await
    }

    /// Removes those of the files that satisfy `condition`, as [`remove`](Self::remove) does. The others count as absent.
    pub(crate) async fn remove_if(&self, keys: &[BlobKey], cause: Cause, condition: Condition) -> Vec<Result<Removal>> {
        let distinct: BTreeSet<_> = keys.iter().map(BlobKey::detached).collect();
        let distinct = Vec::from_iter(distinct);
        let batches: Vec<_> = distinct
            .chunks(BATCH)
            .map(|batch| {
                let batch = batch.iter().cloned().collect();
                self.clone().remove_batch(batch, cause, Arc::clone(&condition))
            })
            .collect();
        let at_once = match self.ledger.engine() {
            Engine::Sqlite => BATCHES,
            #[cfg(feature = "postgres")]
            Engine::Postgres => BATCHES_SHARED,
        };
        let mut batches = stream::iter(batches).buffer_unordered(at_once);
        let mut results = Results::new();
        while let Some(removed) = batches.next().await {
            results.extend(removed);
        }
        let result = |key| results.remove(key).unwrap_or(Ok(Removal::Absent));
        keys.iter().map(result).collect()
    }

    async fn remove_batch(self, batch: BTreeSet<BlobKey>, cause: Cause, condition: Condition) -> Results {
        let mut guards = Vec::with_capacity(batch.len());
        // In their order, so that no two batches wait for each other.
        for key in &batch {
            guards.push(self.locks.clone().lock(key.clone()).await);
        }
        self.remove_locked(batch, guards, cause, condition).await
    }

    /// Removes the row of a file that the store does not have. `guard` is the lock of `key`.
    pub(crate) async fn remove_row(&self, key: &BlobKey, guard: Arc<KeyGuard>) -> Result<Removal> {
        let keys = BTreeSet::from([key.detached()]);
        let results = self.remove_locked(keys, guard, Cause::Repair, always()).await;
        results.into_values().next().unwrap_or(Ok(Removal::Absent))
    }

    /// Removes the files under `keys`, whose locks are `guards`. Returns the result for each.
    ///
    /// It runs to completion even if the caller is gone. Otherwise, the store might remove a file of a later upload.
    pub(super) async fn remove_locked(
        &self,
        keys: BTreeSet<BlobKey>,
        guards: impl Send + 'static,
        cause: Cause,
        condition: Condition,
    ) -> Results {
        let (this, batch) = (self.clone(), keys.clone());
        let removal = tokio::spawn(async move {
            let mut results = Results::new();
            let end = match this.begin(&batch, cause, &*condition, &mut results).await {
                Ok(begun) => this.finish(begun, &mut results).await,
                Err(error) => Err(error),
            };
            drop(guards);
            (results, end.map_err(unrecorded))
        });
        let (mut results, end) = removal.await.unwrap_or_else(|error| {
            let aborted = Error::new(ErrorKind::Internal, "the removal was aborted").with_source(error);
            (Results::new(), Err(aborted))
        });
        if let Err(error) = end {
            for key in keys {
                results.entry(key).or_insert_with(|| Err(error.clone()));
            }
        }
        results
    }

    /// Records the intents to remove the files of `keys` that are not protected.
    async fn begin(
        &self,
        keys: &BTreeSet<BlobKey>,
        cause: Cause,
        condition: &(dyn Fn(&FileRecord) -> bool + Send + Sync),
        results: &mut Results,
    ) -> Result<Vec<Begun>> {
        let policy = self.ledger.keeper().policy();
        let now = self.ledger.now();
        let mut removable = Vec::with_capacity(keys.len());
        for (key, found) in self.known(keys, results).await? {
            let Found { event, is_begun, file } = found;
            // A row whose removal has begun, such as that of an erasure, is not to be repaired.
            if !condition(&file) || (is_begun && cause == Cause::Repair) {
                results.insert(key, Ok(Removal::Absent));
                continue;
            }
            match policy.floor_end(&file).filter(|end| *end > now) {
                Some(end) => {
                    results.insert(key, Ok(Removal::Protected(Protection::Floor(end))));
                }
                None => removable.push((key, event, event::new_id())),
            }
        }
        if removable.is_empty() {
            return Ok(Vec::new());
        }
        let locked: Vec<_> = removable.iter().map(|(key, ..)| key).collect();
        let mut statements = beginning(self.ledger.engine(), &locked);
        let skipped = statements.len();
        let replaceable = Replaceable {
            running: running(self.ledger.engine()),
            server: &self.server,
            resumed: None,
        };
        for (key, expected, event) in &removable {
            statements.extend(intent(key, event, cause, expected, &replaceable));
        }
        let mut rows = self.ledger.change(statements).await?.into_iter().skip(skipped);
        let mut begun = Vec::with_capacity(removable.len());
        for (key, _, event) in removable {
            let (file, _, protection) = (rows.next(), rows.next(), rows.next());
            if let Some(row) = file.into_iter().flatten().next() {
                begun.push(Begun {
                    file: read(row)?,
                    key,
                    event,
                    cause,
                });
                continue;
            }
            let result = match Protection::read(protection.unwrap_or_default())? {
                Some(protection) => Ok(Removal::Protected(protection)),
                None => self.changed(&key, cause).await,
            };
            results.insert(key, result);
        }
        Ok(begun)
    }

    /// Returns the result for a file that another server has changed or removed since it was checked, or is removing.
    async fn changed(&self, key: &BlobKey, cause: Cause) -> Result<Removal> {
        // The next run decides on the file as it is now.
        let is_repeated = matches!(cause, Cause::Retention | Cause::Repair);
        if is_repeated || self.ledger.read(find(key)).await.map_err(unrecorded)?.is_empty() {
            return Ok(Removal::Absent);
        }
        let message = "the file was not removed: another server has changed it or is removing it, or could not end its removal \
            in the last five minutes; try again";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Returns those of `keys` that have a file, with their rows. Records those that only the store has.
    async fn known(&self, keys: &BTreeSet<BlobKey>, results: &mut Results) -> Result<Vec<(BlobKey, Found)>> {
        let statements = keys.iter().map(find).collect();
        let found = self.ledger.read_all(statements).await?;
        let (mut known, mut unknown) = (Vec::with_capacity(keys.len()), Vec::new());
        for (key, rows) in keys.iter().zip(found) {
            match rows.into_iter().next() {
                Some(row) => known.push((key.clone(), Found::read(row)?)),
                None => unknown.push(key.clone()),
            }
        }
        let mut unknown = stream::iter(unknown)
            .map(async |key| (self.ledger.discover(&self.inner, &key).await, key))
            .buffer_unordered(CONCURRENT);
        while let Some((discovered, key)) = unknown.next().await {
            match discovered {
                Ok(Discovered::File(found)) => known.push((key, *found)),
                Ok(Discovered::Nothing) => drop(results.insert(key, Ok(Removal::Absent))),
                Ok(Discovered::Protected(protection)) => {
                    results.insert(key, Ok(Removal::Protected(protection)));
                }
                Err(error) => drop(results.insert(key, Err(error))),
            }
        }
        known.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(known)
    }

    /// Removes the files from the store, and then from the ledger. Their intents are new.
    pub(super) async fn finish(&self, begun: Vec<Begun>, results: &mut Results) -> Result<()> {
        let intended = Instant::now();
        let mut deletions = stream::iter(begun)
            .map(async |begun| {
                let deleted = if intended.elapsed() < LATEST {
                    self.delete_stored(&begun).await
                } else {
                    Err(too_slow())
                };
                (deleted, begun)
            })
            .buffer_unordered(CONCURRENT);
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        while let Some((deleted, begun)) = deletions.next().await {
            match deleted {
                Ok(true) => gone.push(begun),
                Ok(false) => kept.push((begun, Ok(Removal::Absent))),
                Err(error) => kept.push((begun, Err(error))),
            }
        }
        gone.sort_by(|a, b| a.key.cmp(&b.key));
        let mut keys: Vec<_> = gone.iter().chain(kept.iter().map(|(begun, _)| begun)).collect();
        // Sorted, so that no two servers wait for each other.
        keys.sort_by(|a, b| a.key.cmp(&b.key));
        let mut statements: Vec<_> = keys.iter().map(|begun| locking(&begun.key)).collect();
        let mut ends = Vec::with_capacity(gone.len());
        for begun in &gone {
            ends.push(statements.len());
            statements.extend(ending(&begun.key, &begun.event, begun.cause));
        }
        // The caller learns of the failure, and nothing is removed behind its back.
        statements.extend(kept.iter().map(|(begun, _)| forgetting(&begun.key, &begun.event)));
        if statements.is_empty() {
            return Ok(());
        }
        results.extend(kept.into_iter().map(|(begun, result)| (begun.key, result)));
        let trail = gone
            .iter()
            .flat_map(|begun| audited(&begun.key, &begun.event, begun.cause));
        let rows = self.ledger.change_files_audited(statements, trail.collect()).await?;
        for (begun, end) in gone.into_iter().zip(ends) {
            // Otherwise another server has taken over, and reports the removal.
            let is_removed = rows.get(end).is_some_and(|rows| !rows.is_empty());
            let removal = if is_removed {
                measure::recorded(EventKind::Deleted);
                Removal::Removed(Box::new(begun.file))
            } else {
                Removal::Absent
            };
            results.insert(begun.key, Ok(removal));
        }
        Ok(())
    }

    /// Removes the file from the store. Returns `false` if it stays there, because only its row was to be removed.
    async fn delete_stored(&self, begun: &Begun) -> Result<bool> {
        if begun.cause != Cause::Repair {
            return self.inner.delete(&begun.key).await.map(|()| true);
        }
        Ok(!self.is_stored(&begun.key).await?)
    }
}

fn too_slow() -> Error {
    let message = "the file was not removed: the store took too long to remove others before it; try again";
    Error::new(ErrorKind::Unavailable, message)
}
