//! [`Ledger::reindex`]: rebuilds the rows of the files from a store.

use std::{
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    time::SystemTime,
};

use futures_core::stream::FusedStream;
use futures_util::{StreamExt as _, future::try_join, stream};
use kazoo_storage::{BlobCatalog, BlobKey, BlobStore, Error, Result, store::BlobEntry};

use crate::{
    database::{Row, Statement, statement},
    event,
    file::FileRecord,
    ledger::Ledger,
    outbox,
    record::store_newer,
    rows::encode,
    time,
};

/// Number of files that are read and recorded together. An upload waits for the transaction of a batch; more, smaller
/// ones write the same pages of the indexes more often.
const BATCH: usize = 1024;

/// Maximum length of the metadata of a batch in memory, in bytes: 1024 of the longest metadata would take 1 GiB.
const MAX_METADATA: usize = 2 << 20;

/// Number of files that are read at once. An object store answers after milliseconds.
const CONCURRENT: usize = 16;

/// The options of [`Ledger::reindex`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Reindex {
    prefix: Option<BlobKey>,
    events_since: Option<SystemTime>,
}

impl Reindex {
    /// Reindexes every file, without events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reindexes only the files below `prefix`, such as an account.
    pub fn below(mut self, prefix: BlobKey) -> Self {
        self.prefix = Some(prefix);
        self
    }

    /// Records an event for each file that is recorded and was stored at `since` or later, for the receivers that the ledger
    /// knows.
    pub fn events_since(mut self, since: SystemTime) -> Self {
        self.events_since = Some(since);
        self
    }
}

/// The progress and the result of [`Ledger::reindex`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reindexed {
    /// The number of files that the store has listed.
    pub listed: u64,
    /// The number of files that were new in the ledger, or newer in the store.
    pub recorded: u64,
}

/// Files that were read together.
#[derive(Default)]
struct Batch {
    listed: u64,
    /// The number of files that are recorded already.
    recorded: u64,
    /// The statements that record the others.
    statements: Vec<Statement>,
}

impl Ledger {
    /// Records the files of `store` that the ledger does not have: for a store that is older than its ledger, or after the
    /// loss of a ledger.
    ///
    /// Calls `progress` after each batch of files. Files whose row has the same length, and is at least as recent, are
    /// skipped, so an interrupted run continues where it stopped. Memory is bounded. Files may be stored
    /// meanwhile. A file that is deleted meanwhile may be recorded, and rows of files that the store no longer has stay.
    ///
    /// The first upload of a file after its reindex has an event, even if it changes nothing: it may be the one that the reindex
    /// has overtaken.
    pub async fn reindex<S: BlobCatalog>(
        &self,
        store: &S,
        options: Reindex,
        mut progress: impl FnMut(Reindexed),
    ) -> Result<Reindexed> {
        let mut entries = pin!(store.list(options.prefix.as_ref()).fuse());
        let mut done = Reindexed::default();
        let mut before = Batch::default();
        loop {
            // The ledger records one batch while the next is read.
            let record = self.record_all(before.statements);
            let read = async {
                let entries = next(entries.as_mut()).await?;
                self.read_batch(store, entries, &options).await
            };
            let (recorded, batch) = try_join(record, read).await?;
            if before.listed > 0 {
                done.listed += before.listed;
                done.recorded += before.recorded + recorded;
                progress(done);
            }
            if batch.listed == 0 {
                break;
            }
            before = batch;
        }
        if options.prefix.is_none() {
            const SQL: &str = "UPDATE state SET value = $1 WHERE name = 'indexed_at'";
            self.change(vec![statement!(SQL, time::now())]).await?;
        }
        Ok(done)
    }

    /// Returns `true` if a [reindex](Self::reindex) of all files has ended, so that no file of the store is missing.
    ///
    /// A new ledger is not indexed, because its store may be older.
    pub async fn is_indexed(&self) -> Result<bool> {
        const SQL: &str = "SELECT value FROM state WHERE name = 'indexed_at'";
        let mut rows = self.read(statement!(SQL)).await?.into_iter();
        let time = rows.next().map(|mut row| row.integer()).transpose()?;
        Ok(time.is_some_and(|time| time > 0))
    }

    /// Reads the files of `entries` that the ledger does not have. Records those whose metadata is too long to wait.
    async fn read_batch<S: BlobCatalog>(&self, store: &S, entries: Vec<BlobEntry>, options: &Reindex) -> Result<Batch> {
        let mut batch = Batch {
            listed: entries.len() as u64,
            ..Batch::default()
        };
        let mut files = stream::iter(self.unknown(entries).await?)
            .map(|entry| async move {
                describe(store, &entry.key)
                    .await
                    .map_err(|error| of_file(&entry.key, error))
            })
            .buffer_unordered(CONCURRENT);
        let mut metadata = 0;
        while let Some(file) = files.next().await {
            let Some(file) = file? else { continue };
            let event = event::new_id();
            batch.statements.extend(store_newer(self.engine(), &file, &event));
            if options.events_since.is_some_and(|since| file.stored_at >= since) {
                batch.statements.push(outbox::stored(&file.key, &event));
            }
            metadata += file.metadata.map_or(0, |metadata| metadata.as_json().len());
            if metadata >= MAX_METADATA {
                batch.recorded += self.record_all(mem::take(&mut batch.statements)).await?;
                metadata = 0;
            }
        }
        Ok(batch)
    }

    /// Runs statements that record files. Returns the number of files that were recorded.
    async fn record_all(&self, statements: Vec<Statement>) -> Result<u64> {
        if statements.is_empty() {
            return Ok(0);
        }
        Ok(self.change(statements).await?.iter().flatten().count() as u64)
    }

    /// Returns the entries of files that the ledger does not have, or has an older version of.
    async fn unknown(&self, entries: Vec<BlobEntry>) -> Result<Vec<BlobEntry>> {
        const SQL: &str = "SELECT size, stored_at FROM files WHERE key = $1";
        let statements = entries
            .iter()
            .map(|entry| statement!(SQL, encode(&entry.key)))
            .collect();
        let known = self.read_all(statements).await?;
        let mut unknown = Vec::new();
        for (entry, rows) in entries.into_iter().zip(known) {
            if !has(rows, &entry)? {
                unknown.push(entry);
            }
        }
        Ok(unknown)
    }
}

/// Returns the next [`BATCH`] of `entries`, or fewer at their end.
///
/// It reads beyond the end, where only a fused stream may be polled.
pub(crate) async fn next(mut entries: Pin<&mut impl FusedStream<Item = Result<BlobEntry>>>) -> Result<Vec<BlobEntry>> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH
        && let Some(entry) = poll_fn(|cx| entries.as_mut().poll_next(cx)).await
    {
        batch.push(entry?);
    }
    Ok(batch)
}

/// Returns `true` if one of `rows` is that of the listed file.
fn has(rows: Vec<Row>, entry: &BlobEntry) -> Result<bool> {
    let Some(mut row) = rows.into_iter().next() else {
        return Ok(false);
    };
    // A store that keeps metadata after the content lists a larger length; its files are then read again.
    let (size, stored_at) = (row.integer()?, row.integer()?);
    let same_size = u64::try_from(size).is_ok_and(|size| size == entry.len);
    Ok(same_size
        && entry
            .modified
            .is_some_and(|modified| time::to_millis(modified) <= stored_at))
}

/// Adds the place of the file to `error`, without its name, which may be a caller's: the error goes to a log.
fn of_file(key: &BlobKey, error: Error) -> Error {
    let message = match (key.account_id(), key.document_id()) {
        (Some(account), Some(document)) => {
            format!(
                "the file of the document `{document}` in the account `{account}` cannot be read: {}",
                error.message()
            )
        }
        _ => format!("a file without a document cannot be read: {}", error.message()),
    };
    Error::new(error.kind(), message).with_source(error)
}

/// Reads what the store knows of the file, or `None` if it does not have the file.
pub(crate) async fn describe<S: BlobStore>(store: &S, key: &BlobKey) -> Result<Option<FileRecord>> {
    let described = async {
        let (info, metadata) = store.describe(key).await?;
        Ok(FileRecord::new(key, info.len, metadata)
            .with_sha256(info.digest)
            .with_content_type(info.content_type.as_ref())
            .with_stored_at(info.modified.unwrap_or(SystemTime::UNIX_EPOCH)))
    };
    match described.await {
        Err(error) if Error::is_not_found(&error) => Ok(None),
        described => described.map(Some),
    }
}
