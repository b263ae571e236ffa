//! [`Erasure`]: removes the files of an account or of a number, and what the ledger knows of them.

use std::{fmt, future::poll_fn, pin::Pin, time::SystemTime};

use futures_core::stream::FusedStream;
use futures_util::StreamExt as _;
use kazoo_storage::{BlobCatalog, BlobKey, Error, ErrorKind, Result, store::BlobEntry};

use super::{cause::Cause, remove::Removal};
use crate::{
    database::{Statement, Value, statement},
    file::FileRecord,
    ledger::Ledger,
    protection::{Protection, find},
    recorded::Recorded,
    search::Search,
};

/// Number of files in a batch.
const BATCH: usize = 256;

/// The files that an [`Erasure`] removes.
#[derive(Clone)]
pub enum Subject {
    /// The files of this account.
    Account(String),
    /// The files of calls from or to this number.
    Number(String),
}

/// A file of an [`Erasure`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Erased {
    /// The file, without its metadata.
    pub file: FileRecord,
    /// The time at which the file was removed. `None` in a dry run, and if the file was kept.
    pub removed_at: Option<SystemTime>,
    /// The reason why the file was or would be kept.
    pub kept: Option<Kept>,
}

/// The reason why an [`Erasure`] keeps a file.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Kept {
    /// A hold or the policy protects the file.
    Protected(Protection),
    /// The removal has failed with this message.
    Failed(String),
}

/// Removes the files of a [`Subject`] in batches.
///
/// With the files, it removes what their undelivered events tell of calls: their receivers get the events without metadata, call id
/// and numbers. A file that a hold or the policy protects is kept, and so are its events.
///
/// The audit trail keeps its entries about the files, without their keys. For an account, the erasure also removes the files that only
/// the store has, the requests for deletion of documents without kept files, and the keys of files that were removed earlier from the
/// audit trail.
pub struct Erasure<S> {
    store: Recorded<S>,
    subject: Subject,
    is_dry: bool,
    stage: Stage,
}

enum Stage {
    /// The files that the ledger has, after this one.
    Ledger(Option<(SystemTime, BlobKey)>),
    /// The files that only the store has.
    Store(Pin<Box<dyn FusedStream<Item = Result<BlobEntry>> + Send>>),
    Events,
    Ended,
}

impl<S: BlobCatalog> Recorded<S> {
    /// Begins to erase the files of `subject`, or to show them in a dry run.
    ///
    /// Fails with [`ErrorKind::Conflict`] if the ledger does not have all files, because the first
    /// [reindex](Ledger::reindex) has not ended.
    pub async fn erasure(&self, subject: Subject, is_dry: bool) -> Result<Erasure<S>> {
        let (Subject::Account(text) | Subject::Number(text)) = &subject;
        if text.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "an erasure needs an account or a number",
            ));
        }
        if !self.ledger.is_indexed().await? {
            let message = "the ledger does not have all files of the store yet; wait until the log says `reindexed`. If it says \
                `the reindex failed`, remove the cause; the server then tries again, and at once after a restart";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(Erasure {
            store: self.clone(),
            subject,
            is_dry,
            stage: Stage::Ledger(None),
        })
    }
}

impl<S: BlobCatalog> Erasure<S> {
    /// Removes the next files, at most 256. Returns them, or `None` when the erasure is complete.
    ///
    /// If the future is dropped, the files of the batch are removed nevertheless, as by [`Recorded::remove`].
    pub async fn next(&mut self) -> Result<Option<Vec<Erased>>> {
        loop {
            let files = match &mut self.stage {
                Stage::Ledger(after) => {
                    let after = after.take();
                    let files = self.recorded(after).await?;
                    self.stage = match files.last() {
                        Some(last) => Stage::Ledger(Some((last.stored_at, last.key.clone()))),
                        None => self.after_ledger(),
                    };
                    files
                }
                Stage::Store(entries) => {
                    let entries = next_entries(entries).await?;
                    if entries.is_empty() {
                        self.stage = Stage::Events;
                    }
                    self.unrecorded(entries).await?
                }
                Stage::Events => {
                    if !self.is_dry {
                        self.store.ledger.erase_events(&self.subject).await?;
                    }
                    self.stage = Stage::Ended;
                    continue;
                }
                Stage::Ended => return Ok(None),
            };
            let erased = self.erase(files).await?;
            if !erased.is_empty() {
                return Ok(Some(erased));
            }
        }
    }

    fn after_ledger(&self) -> Stage {
        match &self.subject {
            Subject::Account(account) => match BlobKey::from_segments([account]) {
                Ok(account) => Stage::Store(Box::pin(self.store.list(Some(&account)).fuse())),
                // No file has such a key.
                Err(_) => Stage::Events,
            },
            Subject::Number(_) => Stage::Events,
        }
    }

    /// Returns the next files that the ledger has.
    async fn recorded(&mut self, after: Option<(SystemTime, BlobKey)>) -> Result<Vec<FileRecord>> {
        let search = match &self.subject {
            Subject::Account(account) => Search::new().account(account),
            Subject::Number(number) => Search::new().number(number),
        };
        let search = match after {
            Some((stored_at, key)) => search.after(stored_at, &key),
            None => search,
        };
        self.store.ledger.search(search.without_metadata(), BATCH).await
    }

    /// Returns the files of `entries` that the ledger does not have.
    async fn unrecorded(&mut self, entries: Vec<BlobEntry>) -> Result<Vec<FileRecord>> {
        let statements = entries.iter().map(|entry| find(&entry.key)).collect();
        let known = self.store.ledger.read_all(statements).await?;
        let unknown = entries.into_iter().zip(known).filter(|(_, rows)| rows.is_empty());
        Ok(unknown
            .map(|(entry, _)| {
                FileRecord::new(&entry.key, entry.len, None)
                    .with_stored_at(entry.modified.unwrap_or(SystemTime::UNIX_EPOCH))
            })
            .collect())
    }

    async fn erase(&mut self, files: Vec<FileRecord>) -> Result<Vec<Erased>> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<BlobKey> = files.iter().map(|file| file.key.clone()).collect();
        if self.is_dry {
            let kept = self.store.ledger.protections(&keys).await?;
            let erased = files.into_iter().zip(kept).map(|(file, protection)| Erased {
                file,
                removed_at: None,
                kept: protection.map(Kept::Protected),
            });
            return Ok(erased.collect());
        }
        let removed = self.store.remove(&keys, Cause::Erasure).await;
        let now = SystemTime::now();
        let erased = files.into_iter().zip(removed).filter_map(|(file, removal)| {
            let (file, kept) = match removal {
                Ok(Removal::Removed(removed)) => (*removed, None),
                // Somebody else has removed it.
                Ok(Removal::Absent) => return None,
                Ok(Removal::Protected(protection)) => (file, Some(Kept::Protected(protection))),
                Err(error) => (file, Some(Kept::Failed(error.message().to_owned()))),
            };
            Some(Erased {
                file,
                removed_at: kept.is_none().then_some(now),
                kept,
            })
        });
        Ok(erased.collect())
    }
}

async fn next_entries(
    entries: &mut Pin<Box<dyn FusedStream<Item = Result<BlobEntry>> + Send>>,
) -> Result<Vec<BlobEntry>> {
    let mut batch = Vec::with_capacity(BATCH);
    while batch.len() < BATCH
        && let Some(entry) = poll_fn(|cx| entries.as_mut().poll_next(cx)).await
    {
        batch.push(entry?);
    }
    Ok(batch)
}

impl Ledger {
    /// Removes the requests for deletion of `subject`, and what undelivered events tell of its calls, unless their files were kept. The
    /// requests for kept files are carried out when nothing protects these any more.
    async fn erase_events(&self, subject: &Subject) -> Result<()> {
        // The key of a file of the document: account, document and name, or account, owner, document and name.
        const REQUESTS: &str = "DELETE FROM deletion_requests WHERE account = $1 \
            AND NOT EXISTS (SELECT 1 FROM files f WHERE f.document = deletion_requests.document AND f.owner IS NULL \
                AND f.key > CAST($2 AS TEXT) || deletion_requests.document || CAST($3 AS TEXT) \
                AND f.key < CAST($2 AS TEXT) || deletion_requests.document || CAST($4 AS TEXT)) \
            AND NOT EXISTS (SELECT 1 FROM files f WHERE f.account = $1 AND f.document = deletion_requests.document \
                AND f.owner IS NOT NULL)";
        // The key of a file of the account: the separator 0x1f follows, and 0x20 is the next character.
        const OF_ACCOUNT: &str = "o.key >= $2 AND o.key < $3 \
            AND NOT EXISTS (SELECT 1 FROM files f WHERE f.key = o.key)";
        const OF_NUMBER: &str = "(o.caller_number = $2 OR o.callee_number = $3) AND NOT EXISTS (SELECT 1 FROM files f \
            WHERE f.key = o.key AND (f.caller_number = $2 OR f.callee_number = $3))";
        let (condition, values): (_, [Value; 2]) = match subject {
            Subject::Account(account) => {
                let first = format!("{account}\u{1f}");
                let statement = statement!(REQUESTS, account.as_str(), first, "\u{1f}", "\u{20}");
                self.change(vec![statement]).await?;
                self.erase_audit_account(account).await?;
                let limits = [format!("{account}\u{1f}"), format!("{account}\u{20}")];
                (OF_ACCOUNT, limits.map(Value::from))
            }
            Subject::Number(number) => (OF_NUMBER, [number.as_str(), number.as_str()].map(Value::from)),
        };
        let sql = format!(
            "UPDATE outbox SET metadata = NULL, call_id = NULL, caller_number = NULL, callee_number = NULL WHERE seq IN ( \
                SELECT o.seq FROM outbox o WHERE o.seq > $1 AND {condition} AND (o.metadata IS NOT NULL \
                    OR o.call_id IS NOT NULL OR o.caller_number IS NOT NULL OR o.callee_number IS NOT NULL) \
                ORDER BY o.seq LIMIT {BATCH}) RETURNING seq"
        );
        let mut after = 0;
        loop {
            let mut parameters = vec![Value::Integer(after)];
            parameters.extend(values.clone());
            let statement = Statement {
                sql: sql.clone().into(),
                parameters,
            };
            let rows = self.change(vec![statement]).await?.pop().unwrap_or_default();
            let last = rows
                .into_iter()
                .map(|mut row| row.integer())
                .try_fold(0, |last, seq| seq.map(|seq| last.max(seq)))?;
            if last == 0 {
                return Ok(());
            }
            after = last;
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protected(protection) => protection.fmt(f),
            Self::Failed(message) => f.write_str(message),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Account(_) => "Account",
            Self::Number(_) => "Number",
        })
    }
}

impl<S> fmt::Debug for Erasure<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erasure")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}
