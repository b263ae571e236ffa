//! The types of [`Recorded::verify`], which compares a store with its ledger, in both directions.

mod difference;
mod inspect;

use std::{
    pin::pin,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use kazoo_storage::{
    BlobCatalog, BlobKey, BlobStore, Error, ErrorKind, Result,
    store::{BlobEntry, DynBlobStore},
};
use tokio::time::{sleep, timeout};

pub use self::difference::{Content, Difference, DifferenceKind};
use crate::{
    database::{Row, statement},
    ledger::Ledger,
    recorded::Recorded,
    reindex,
    rows::{decode, encode},
};

/// Number of rows that are read together.
const PAGE: usize = 1024;

/// Number of files that are described at once. An object store answers after milliseconds.
const CONCURRENT: usize = 16;

/// Number of contents that are read at once.
const READERS: usize = 4;

/// Maximum number of files that wait for their second look.
const SUSPECTS: usize = 4096;

/// Time before the second look at a file. A server that shares the ledger may be between the store and the ledger.
const SETTLE: Duration = Duration::from_secs(2);

/// Interval between calls of `progress` while contents are read.
const TICK: Duration = Duration::from_secs(1);

/// The options of [`Recorded::verify`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Verify {
    contents: Option<DynBlobStore>,
    repair: bool,
}

impl Verify {
    /// Compares lengths and digests as the store reports them, and changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also reads each file, and compares its content with its digest. `store` has the same files, and redirects no fetch.
    pub fn contents(mut self, store: impl BlobStore) -> Self {
        self.contents = Some(DynBlobStore::new(store));
        self
    }

    /// Makes the ledger agree with the store, which is not changed.
    ///
    /// A file that the ledger does not have is recorded without an event, as [`Ledger::reindex`] does. The row of a file that is
    /// gone is removed, with an event. The digest in the ledger is replaced only by one that the store has.
    pub fn repair(mut self, repair: bool) -> Self {
        self.repair = repair;
        self
    }
}

/// The progress and the result of [`Recorded::verify`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The number of files that the store has listed.
    pub listed: u64,
    /// The number of files that the ledger had at the beginning.
    pub recorded: u64,
    /// The number of files in the ledger that were compared with the store, with those that were recorded meanwhile.
    pub compared: u64,
    /// The number of bytes that were read.
    pub bytes: u64,
    /// The number of files that differ.
    pub differences: u64,
    /// The number of those that were repaired.
    pub repaired: u64,
}

/// A running verification.
struct Verification<'a, S, Found, Progress> {
    recorded: &'a Recorded<S>,
    options: &'a Verify,
    found: Found,
    progress: Progress,
    done: Verified,
    bytes: &'a AtomicU64,
    /// Files that differed at the first look.
    suspects: Vec<BlobKey>,
}

impl<S: BlobCatalog> Recorded<S> {
    /// Compares the store with the ledger, and the ledger with the store.
    ///
    /// Calls `found` for each difference and waits for its future, and `progress` from time to time. Memory is bounded, whatever
    /// the number of files. Files may be stored and deleted meanwhile: a difference is reported only if it is still there
    /// at a second look, two seconds later and under the lock of its key. Changes of several servers that share a
    /// ledger may take that long.
    ///
    /// With [`Verify::repair`], it fails with [`ErrorKind::Conflict`] if the store is empty and the ledger is not: the store is
    /// then probably another one, and every row would be removed.
    pub async fn verify<F: Future<Output = ()>>(
        &self,
        options: Verify,
        found: impl FnMut(Difference) -> F,
        progress: impl FnMut(Verified),
    ) -> Result<Verified> {
        let bytes = AtomicU64::new(0);
        let mut verification = Verification {
            recorded: self,
            options: &options,
            found,
            progress,
            done: Verified {
                recorded: self.ledger.rows().await?,
                ..Verified::default()
            },
            bytes: &bytes,
            suspects: Vec::new(),
        };
        verification.store().await?;
        verification.ledger().await?;
        verification.report();
        Ok(verification.done)
    }
}

impl<S, Found, F, Progress> Verification<'_, S, Found, Progress>
where
    S: BlobCatalog,
    Found: FnMut(Difference) -> F,
    F: Future<Output = ()>,
    Progress: FnMut(Verified),
{
    /// Looks for files of the store that the ledger does not have.
    async fn store(&mut self) -> Result<()> {
        let mut entries = pin!(self.recorded.inner.list(None).fuse());
        loop {
            let entries = reindex::next(entries.as_mut()).await?;
            if entries.is_empty() {
                break;
            }
            self.done.listed += entries.len() as u64;
            let unrecorded = self.recorded.ledger.unrecorded(entries).await?;
            self.suspects.extend(unrecorded);
            self.report();
            if self.suspects.len() >= SUSPECTS {
                self.look_again(None).await?;
            }
        }
        if self.options.repair && self.done.listed == 0 && self.done.recorded > 0 {
            let message =
                "the store is empty and the ledger is not, so nothing was repaired; check that this is the right store";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // A content is compared with the ledger, which does not have these.
        self.look_again(None).await
    }

    /// Compares each file of the ledger with the store.
    async fn ledger(&mut self) -> Result<()> {
        let options = self.options;
        let contents = options.contents.as_ref();
        let concurrent = if contents.is_some() { READERS } else { CONCURRENT };
        let mut after = String::new();
        loop {
            let rows = self.recorded.ledger.page(&after).await?;
            let Some((last, _)) = rows.last() else { break };
            after = encode(last);
            let (recorded, bytes) = (self.recorded, self.bytes);
            let mut compared = stream::iter(rows)
                .map(|(key, row)| async move {
                    let agrees = recorded.agrees(&key, row, contents, bytes).await;
                    (!agrees).then_some(key)
                })
                .buffer_unordered(concurrent);
            loop {
                match timeout(TICK, compared.next()).await {
                    Ok(None) => break,
                    Ok(Some(suspect)) => {
                        self.done.compared += 1;
                        self.suspects.extend(suspect);
                    }
                    Err(_) => {}
                }
                self.report();
            }
            drop(compared);
            if self.suspects.len() >= SUSPECTS {
                self.look_again(contents).await?;
            }
        }
        self.look_again(contents).await
    }

    /// Reports the suspects that still differ, and repairs them if asked to.
    async fn look_again(&mut self, contents: Option<&DynBlobStore>) -> Result<()> {
        if self.suspects.is_empty() {
            return Ok(());
        }
        sleep(SETTLE).await;
        let (recorded, repair, bytes) = (self.recorded, self.options.repair, self.bytes);
        let mut looks = stream::iter(std::mem::take(&mut self.suspects))
            .map(|key| recorded.look_again(key, repair, contents, bytes))
            .buffer_unordered(READERS);
        loop {
            match timeout(TICK, looks.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(difference)) => {
                    if let Some(difference) = difference? {
                        self.done.differences += 1;
                        self.done.repaired += u64::from(difference.repaired);
                        (self.found)(difference).await;
                    }
                }
                Err(_) => {}
            }
            self.report();
        }
    }

    fn report(&mut self) {
        self.done.bytes = self.bytes.load(Ordering::Relaxed);
        (self.progress)(self.done);
    }
}

impl Ledger {
    /// Returns the number of files.
    async fn rows(&self) -> Result<u64> {
        let mut rows = self.read(statement!("SELECT COUNT(*) FROM files")).await?.into_iter();
        let count = rows.next().map(|mut row| row.integer()).transpose()?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// Returns those of `entries` that have no row.
    async fn unrecorded(&self, entries: Vec<BlobEntry>) -> Result<Vec<BlobKey>> {
        const SQL: &str = "SELECT size FROM files WHERE key = $1";
        let statements = entries.iter().map(|entry| statement!(SQL, encode(&entry.key)));
        let rows = self.read_all(statements.collect()).await?;
        let missing = entries.into_iter().zip(rows).filter(|(_, rows)| rows.is_empty());
        Ok(missing.map(|(entry, _)| entry.key).collect())
    }

    /// Returns the files behind the key `after`, in their order.
    async fn page(&self, after: &str) -> Result<Vec<(BlobKey, Content)>> {
        let sql = format!("SELECT key, size, sha256 FROM files WHERE key > $1 ORDER BY key LIMIT {PAGE}");
        let rows = self.read(statement!(sql, after)).await?.into_iter();
        rows.map(|mut row| Ok((decode(&row.text()?)?, content(row)?))).collect()
    }

    /// Returns the content of the file under `key`, if the ledger has it.
    async fn content(&self, key: &BlobKey) -> Result<Option<Content>> {
        const SQL: &str = "SELECT size, sha256 FROM files WHERE key = $1";
        let rows = self.read(statement!(SQL, encode(key))).await?;
        rows.into_iter().next().map(content).transpose()
    }
}

fn content(mut row: Row) -> Result<Content> {
    Ok(Content::from_row(row.integer()?, row.optional_bytes()?))
}
