//! [`Ledger`]: the database of the files and events.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use kazoo_storage::Result;
use tokio::sync::Notify;

use crate::{
    clock::{Clock, Noted, Source},
    database::{Database, Engine, Row, Statement, statement},
    gone_receivers::GoneReceivers,
    holds::Keeper,
    location::{Location, Place},
    measure,
    policy::Policy,
    time,
};

/// A database of the files that a store has, and of the events that were not delivered yet.
///
/// Clones share the database. [`Recorded`](crate::Recorded) records in it.
#[derive(Clone, Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    /// Wakes tasks that wait for events.
    changed: Notify,
    /// Wakes tasks that wait for audit entries.
    audited: Notify,
    closed: AtomicBool,
    /// Those of the last registration.
    gone: Mutex<GoneReceivers>,
    keeper: Arc<Keeper>,
    clock: Clock,
}

/// The options of a [`Ledger`].
#[derive(Clone, Debug)]
pub struct LedgerOptions {
    durable: bool,
    clock: Source,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        Self {
            durable: true,
            clock: Source::default(),
        }
    }
}

impl LedgerOptions {
    /// Determines whether a change is synced to the disk before it is acknowledged; `true` by default. Without it, a
    /// power failure may lose the last changes, and a crash of the process none.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Reads the time from `clock`.
    #[cfg(test)]
    pub(crate) fn clock(mut self, clock: Source) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the SQLite database in the file `path`, as [`Ledger::sqlite`] does.
    pub async fn sqlite(self, path: impl AsRef<Path>) -> Result<Ledger> {
        self.open(&Location::sqlite(path)).await
    }

    /// Opens the database at `location`, as [`Ledger::open`] does.
    pub async fn open(self, location: &Location) -> Result<Ledger> {
        let database = match &location.0 {
            Place::Sqlite(path) => {
                let path = path.clone();
                tokio::task::spawn_blocking(move || Database::sqlite(&path, self.durable))
                    .await
                    .map_err(std::io::Error::other)??
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => Database::postgres(address, self.durable).await?,
        };
        let mut rows = database.read(vec![Noted::statement()]).await?.into_iter().flatten();
        let noted = rows.next().map(Noted::from_row).transpose()?.unwrap_or_default();
        Ok(Ledger {
            shared: Arc::new(Shared {
                database,
                clock: Clock::new(self.clock, noted),
                changed: Notify::new(),
                audited: Notify::new(),
                closed: AtomicBool::new(false),
                gone: Mutex::default(),
                keeper: Arc::default(),
            }),
        })
    }
}

impl Ledger {
    /// Returns the options to open a ledger with.
    #[must_use]
    pub fn options() -> LedgerOptions {
        LedgerOptions::default()
    }

    /// Opens the SQLite database in the file `path`, and creates it if it does not exist.
    ///
    /// The file must be on a local disk. Several processes of one machine may use it; a write waits up to 10 seconds for
    /// another one. An older schema is migrated. A newer schema, the database of another program and a directory are
    /// [`ErrorKind::Conflict`](kazoo_storage::ErrorKind::Conflict), and a damaged file is
    /// [`ErrorKind::Damaged`](kazoo_storage::ErrorKind::Damaged). Everything else is
    /// [`ErrorKind::Unavailable`](kazoo_storage::ErrorKind::Unavailable).
    pub async fn sqlite(path: impl AsRef<Path>) -> Result<Self> {
        Self::options().sqlite(path).await
    }

    /// Opens the database at `location`, such as `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`: see
    /// [`Location`].
    ///
    /// In a PostgreSQL database, the ledger has the schema `kazoo_storage`, and creates it. Several servers may use it.
    /// Fails with [`ErrorKind::Unavailable`](kazoo_storage::ErrorKind::Unavailable) if PostgreSQL cannot be reached. If it
    /// goes down later, every call fails so, and the ledger connects again by itself. Its tasks run on the runtime that opened it.
    pub async fn open(location: &str) -> Result<Self> {
        Self::options().open(&location.parse()?).await
    }

    /// Ends every consumer of this ledger: [`Consumer::next`](crate::Consumer::next) returns `None`. Their events stay, and
    /// jobs can still be acknowledged. Recording continues; the database is closed with the last clone.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.changed.notify_waiters();
    }

    /// [Closes](Self::close) the ledger and its database: whatever uses it later fails with
    /// [`ErrorKind::Unavailable`](kazoo_storage::ErrorKind::Unavailable).
    ///
    /// Every change is durable without it. It makes SQLite move its write-ahead log into the file, so that a plain copy of the file
    /// is complete. Call it when the last upload has ended.
    pub async fn shutdown(&self) {
        self.close();
        self.shared.database.close().await;
    }

    /// Returns `true` after [`close`](Self::close) or [`shutdown`](Self::shutdown).
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::SeqCst)
    }

    /// Fails if nothing can be recorded.
    pub(crate) async fn check(&self) -> Result<()> {
        // Writes, so that a full disk or a lock of another process is found.
        const SQL: &str = "UPDATE state SET value = $1 WHERE name = 'checked_at'";
        self.change(vec![statement!(SQL, time::now())]).await?;
        Ok(())
    }

    /// Wakes the consumers of this process, because something was recorded.
    pub(crate) fn wake(&self) {
        self.shared.changed.notify_waiters();
    }

    /// Wakes those who wait for audit entries, because some were appended.
    pub(crate) fn wake_audit(&self) {
        self.shared.audited.notify_waiters();
    }

    /// Waits until this process appends an entry to the audit trail after the call, or once it was woken for another reason.
    pub fn audited(&self) -> impl Future<Output = ()> {
        self.shared.audited.notified()
    }

    /// Waits until something is recorded in this process after the call.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> {
        self.shared.changed.notified()
    }

    /// Returns the receivers that want no more events.
    pub(crate) fn gone(&self) -> GoneReceivers {
        let gone = self.shared.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.clone()
    }

    /// Replaces the receivers that want no more events with those of a new registration. A late answer to an earlier one does not
    /// reach them.
    #[cfg(any(feature = "amqp", feature = "webhooks"))]
    pub(crate) fn set_gone(&self, gone: GoneReceivers) {
        *self.shared.gone.lock().unwrap_or_else(PoisonError::into_inner) = gone;
    }

    /// Replaces the policy. A removal that has begun is not affected.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.keeper.set_policy(policy);
    }

    /// Returns the policy: an empty one, which deletes nothing, unless one was set.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.keeper.policy()
    }

    pub(crate) fn keeper(&self) -> &Arc<Keeper> {
        &self.shared.keeper
    }

    /// Returns the number of units that were sent to the database.
    #[cfg(test)]
    pub(crate) fn sent(&self) -> usize {
        self.shared.database.sent.load(Ordering::SeqCst)
    }

    pub(crate) fn database(&self) -> &Database {
        &self.shared.database
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub(crate) fn engine(&self) -> Engine {
        self.shared.database.engine()
    }

    pub(crate) async fn read(&self, statement: Statement) -> Result<Vec<Row>> {
        Ok(self.read_all(vec![statement]).await?.pop().unwrap_or_default())
    }

    pub(crate) async fn read_all(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        self.shared.database.read(statements).await
    }

    /// Writes the change of a file, and measures the time until it is durable.
    pub(crate) async fn change_file(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        let begun = Instant::now();
        let rows = self.change(statements).await?;
        measure::changed(begun.elapsed());
        Ok(rows)
    }

    /// Runs statements whose changes are durable when this returns.
    pub(crate) async fn change(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        self.shared.database.change(statements).await
    }

    /// Writes changes of files with their entries in the audit trail, and measures the time until they are durable.
    pub(crate) async fn change_files_audited(
        &self,
        statements: Vec<Statement>,
        trail: Vec<Statement>,
    ) -> Result<Vec<Vec<Row>>> {
        let begun = Instant::now();
        let rows = self.change_audited(statements, trail).await?;
        measure::changed(begun.elapsed());
        self.wake();
        self.wake_audit();
        Ok(rows)
    }

    /// Runs `statements`, and then `trail`, which appends to the audit trail. Their changes are durable when this returns.
    pub(crate) async fn change_audited(
        &self,
        statements: Vec<Statement>,
        trail: Vec<Statement>,
    ) -> Result<Vec<Vec<Row>>> {
        self.shared.database.audit(statements, trail).await
    }

    /// Runs statements that change which events are claimed, waiting or delivered.
    pub(crate) async fn change_claims(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        self.shared.database.claim(statements).await
    }

    /// Runs statements that put events off.
    pub(crate) async fn change_put_off(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        self.shared.database.put_off(statements).await
    }
}
