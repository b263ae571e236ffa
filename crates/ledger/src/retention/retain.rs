//! [`Recorded::retain`]: removes expired files.

use std::{sync::Arc, time::Duration};

use kazoo_storage::{BlobCatalog, BlobKey, BlobStore as _, Error, ErrorKind, Result};
use tokio::time::{Instant, sleep_until};

use super::{DeletionRequest, pace::Pace, requests::FILES};
use crate::{
    clock::Suspension,
    database::{Engine, statement},
    file::FileRecord,
    ledger::Ledger,
    measure,
    recorded::Recorded,
    removal::{Cause, Removal},
    rows::{decode, encode},
    time,
};

/// Time between two checks of the store while its files cannot be removed.
const CHECK: Duration = Duration::from_secs(60);

/// Number of documents whose files are read together.
const DOCUMENTS: usize = 64;

/// Number of files by which a run recognizes the store.
const OLDEST: usize = 64;

/// The condition that nobody is removing the file `f`.
const NOT_REMOVED: &str = "NOT EXISTS (SELECT 1 FROM removals r WHERE r.key = f.key)";

/// The result of [`Recorded::retain`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Retained {
    /// The number of files that were removed.
    pub removed: u64,
    /// The total length of these files, in bytes.
    pub bytes: u64,
    /// The number of files that are due but were kept: a hold or a floor protects them.
    pub kept: u64,
    /// The number of files that could not be removed.
    pub failed: u64,
    /// The first error of these files.
    pub error: Option<Error>,
    /// The reason why the run ended early, if a clock is wrong.
    pub suspension: Option<Suspension>,
}

/// A run of retention.
struct Run<'a, S> {
    store: &'a Recorded<S>,
    retained: Retained,
    /// The time at which the next batch may begin.
    next: Instant,
    /// No file of the last batch could be removed.
    is_failing: bool,
    /// The time of the last check of the store.
    checked: Option<Instant>,
    /// The store has a file that the ledger has, too.
    is_right_store: bool,
}

/// The reason for the end of a run.
enum End {
    /// A clock is wrong.
    Suspended,
    /// No file of a batch could be removed, because the store or the ledger is down.
    Failed,
    /// The ledger or the store failed, or the store is not the right one.
    Error(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl<S: BlobCatalog> Recorded<S> {
    /// Removes the files that the [policy](crate::Ledger::policy) deletes, and those of the documents that KAZOO has deleted. While
    /// files are uploaded through a clone of this store, and for one second after that, removals take a sixteenth of the time, or as much
    /// as it takes to remove 200 files per second, if that is more. With PostgreSQL, this limit always applies, because other servers may be
    /// receiving uploads.
    ///
    /// Ends early while retention is [suspended](crate::Ledger::suspension), and while the store or the ledger is down. Fails with
    /// [`ErrorKind::Conflict`] if files are due, but the store has none of the 64 oldest files of the ledger: it is then probably
    /// another one, such as a directory whose disk is not mounted, and only rows would be removed.
    ///
    /// It may be dropped at any time: the files whose removal has begun are removed nevertheless. Several servers may run it at once.
    pub async fn retain(&self) -> Result<Retained> {
        let mut run = Run {
            store: self,
            retained: Retained::default(),
            next: Instant::now(),
            is_failing: false,
            checked: None,
            is_right_store: false,
        };
        match run.run().await {
            Ok(()) | Err(End::Failed) => {}
            Err(End::Suspended) => run.retained.suspension = self.ledger.suspension(),
            Err(End::Error(error)) => return Err(error),
        }
        Ok(run.retained)
    }
}

impl Ledger {
    /// Returns the keys of the oldest files that nobody is removing.
    async fn oldest(&self) -> Result<Vec<BlobKey>> {
        let sql = format!("SELECT f.key FROM files f WHERE {NOT_REMOVED} ORDER BY f.stored_at LIMIT {OLDEST}");
        let rows = self.read(statement!(sql)).await?;
        rows.into_iter().map(|mut row| decode(&row.text()?)).collect()
    }

    /// Returns `true` if the ledger has the file under `key`, and nobody is removing it.
    async fn has_file(&self, key: &BlobKey) -> Result<bool> {
        let sql = format!("SELECT f.key FROM files f WHERE f.key = $1 AND {NOT_REMOVED}");
        Ok(!self.read(statement!(sql, encode(key))).await?.is_empty())
    }
}

impl<S: BlobCatalog> Run<'_, S> {
    async fn run(&mut self) -> Result<(), End> {
        // Also before anything is found to be due.
        self.check_clock()?;
        self.apply_rules().await?;
        self.delete_documents().await
    }

    fn check_clock(&self) -> Result<(), End> {
        match self.store.ledger.suspension() {
            Some(_) => Err(End::Suspended),
            None => Ok(()),
        }
    }

    async fn apply_rules(&mut self) -> Result<(), End> {
        let mut due = self.store.ledger.files_due(None);
        loop {
            let files = due.next().await?;
            if files.is_empty() {
                return Ok(());
            }
            let found = files.len();
            let free: Vec<_> = files.into_iter().filter(|due| due.hold.is_none()).collect();
            self.retained.kept += (found - free.len()) as u64;
            let free: Vec<_> = free.into_iter().map(|due| due.file).collect();
            self.remove(&free, Cause::Retention).await?;
        }
    }

    async fn delete_documents(&mut self) -> Result<(), End> {
        let ledger = &self.store.ledger;
        let mut after: Option<DeletionRequest> = None;
        loop {
            let until = time::to_millis(ledger.now());
            let requests = ledger.requests_until(until, after.as_ref(), DOCUMENTS).await?;
            let files = ledger.files_of(&requests).await?;
            for (request, files) in requests.iter().zip(files) {
                self.delete_document(request, &files).await?;
            }
            match requests.into_iter().last() {
                Some(last) => after = Some(last),
                None => return Ok(()),
            }
        }
    }

    /// Removes the files of a document, and then the request, unless some files are left.
    async fn delete_document(&mut self, request: &DeletionRequest, files: &[FileRecord]) -> Result<(), End> {
        // The request may have been cancelled since it was read.
        sleep_until(self.next).await;
        if !self.store.ledger.is_requested(request).await? {
            return Ok(());
        }
        let left = |retained: &Retained| retained.kept + retained.failed;
        let before = left(&self.retained);
        self.remove(files, Cause::Request).await?;
        if files.len() < FILES && left(&self.retained) == before {
            let ledger = &self.store.ledger;
            ledger.cancel_deletion(&request.account, &request.document).await?;
        }
        Ok(())
    }

    /// Removes `files` in batches, with a pause after each while there are uploads.
    async fn remove(&mut self, mut files: &[FileRecord], cause: Cause) -> Result<(), End> {
        while !files.is_empty() {
            sleep_until(self.next).await;
            self.check_clock()?;
            let (batch, rest) = files.split_at(self.pace().batch().min(files.len()));
            self.check_store(batch.len()).await?;
            files = rest;
            let begun = Instant::now();
            self.remove_batch(batch, cause).await?;
            self.next = Instant::now() + self.pace().pause(batch.len(), begun.elapsed());
        }
        Ok(())
    }

    /// Fails if the store has none of the oldest files of the ledger. `due` is the number of files that are not removed then.
    async fn check_store(&mut self, due: usize) -> Result<(), End> {
        if self.is_right_store {
            return Ok(());
        }
        let ledger = &self.store.ledger;
        let mut is_missing = false;
        for key in ledger.oldest().await? {
            match self.store.head(&key).await {
                // Another server may have removed it since.
                Err(error) if error.is_not_found() => is_missing |= ledger.has_file(&key).await?,
                Err(error) if !matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Internal) => {
                    return Err(error.into());
                }
                _ => {
                    self.is_right_store = true;
                    return Ok(());
                }
            }
        }
        if !is_missing {
            return Ok(());
        }
        measure::retained(0, due as u64);
        let message = "retention removed nothing, because the store has none of the oldest files of the ledger: check that its disk is \
            mounted and that it is the right store; if these files were deleted without the server, remove them from the ledger with \
            `files verify --repair`";
        Err(Error::new(ErrorKind::Conflict, message).into())
    }

    fn pace(&self) -> Pace {
        // Other servers may share the database, and their uploads are not seen here.
        let is_shared = !matches!(self.store.ledger.engine(), Engine::Sqlite);
        if is_shared || self.is_failing || self.store.uploads.are_recent() {
            Pace::Yielding
        } else {
            Pace::Full
        }
    }

    async fn remove_batch(&mut self, files: &[FileRecord], cause: Cause) -> Result<(), End> {
        let keys: Vec<_> = files.iter().map(|file| file.key.clone()).collect();
        let (mut removed, mut failed) = (0, 0);
        let (policy, now) = (self.store.ledger.policy(), self.store.ledger.now());
        // A file may have been replaced since it was due.
        let is_due = Arc::new(move |file: &FileRecord| cause != Cause::Retention || policy.deletes(file, now));
        for result in self.store.remove_if(&keys, cause, is_due).await {
            match result {
                Ok(Removal::Removed(file)) => {
                    removed += 1;
                    self.retained.bytes += file.size;
                }
                Ok(Removal::Protected(_)) => self.retained.kept += 1,
                // Another server has removed it.
                Ok(Removal::Absent) => {}
                Err(error) => {
                    failed += 1;
                    self.retained.error.get_or_insert(error);
                }
            }
        }
        measure::retained(removed, failed);
        self.retained.removed += removed;
        self.retained.failed += failed;
        self.is_failing = failed == keys.len() as u64;
        // Either these files cannot be removed, or none can: then the next run tries again.
        if self.is_failing && self.checked.is_none_or(|checked| checked.elapsed() > CHECK) {
            self.store.check().await.map_err(|_| End::Failed)?;
            self.checked = Some(Instant::now());
        }
        Ok(())
    }
}
