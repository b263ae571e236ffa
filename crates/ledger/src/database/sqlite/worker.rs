//! The threads of SQLite: one writes, one makes that durable, and one reads.

use std::{
    borrow::Cow,
    ptr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use kazoo_storage::{Error, Result};
use rusqlite::{CachedStatement, Connection, Transaction, TransactionBehavior, params_from_iter};
use tokio::sync::{mpsc, oneshot};

use super::{failed, log::Log};
use crate::database::{Purpose, QUEUE, Row, Statement, Threads, Unit, Value, by_unit, committed, in_order};

/// Maximum number of units in a transaction. It bounds the time until the first of them is acknowledged.
const BATCH: usize = 256;

/// The rows of each statement of a unit.
type Rows = Vec<Vec<Row>>;

/// Runs the units that arrive on a thread of their own, until no sender is left or the database is closed. With a log, changes are
/// durable before their rows are sent.
pub(super) fn spawn(
    name: &str,
    connection: Connection,
    log: Option<Log>,
    threads: &Threads,
) -> Result<mpsc::Sender<Unit>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let closing = Arc::clone(&threads.closing);
    let syncer = log.map(Syncer::spawn).transpose()?;
    let mut worker = Worker { connection, syncer };
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        worker.serve(receiver, &closing);
        if let Some(syncer) = worker.syncer {
            syncer.end();
        }
    })?;
    let mut running = threads.running.lock().unwrap_or_else(PoisonError::into_inner);
    running.push(thread);
    drop(running);
    Ok(sender)
}

struct Worker {
    connection: Connection,
    syncer: Option<Syncer>,
}

impl Worker {
    fn serve(&mut self, mut units: mpsc::Receiver<Unit>, closing: &AtomicBool) {
        let mut batch = Vec::with_capacity(BATCH);
        while units.blocking_recv_many(&mut batch, BATCH) > 0 {
            if closing.load(Ordering::SeqCst) {
                units.close();
            }
            // A caller that is gone has not been promised anything.
            batch.retain(|unit| !unit.reply.is_closed());
            match self.run(&batch) {
                Ok(results) => self.answer(batch.drain(..).zip(results)),
                // One of them may be the cause, such as a value that is too large.
                Err(_) if batch.len() > 1 => {
                    for unit in batch.drain(..) {
                        match self.run(std::slice::from_ref(&unit)) {
                            Ok(results) => self.answer([unit].into_iter().zip(results)),
                            Err(error) => drop(unit.reply.send(Err(error))),
                        }
                    }
                }
                Err(error) => {
                    for unit in batch.drain(..) {
                        let _ = unit.reply.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Runs `units` in one transaction. Returns the rows of each unit.
    fn run(&mut self, units: &[Unit]) -> Result<Vec<Rows>> {
        if let Some(syncer) = &mut self.syncer {
            syncer.repair(&self.connection)?;
        }
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        let mut prepared = Prepared::new(&self.connection);
        let rows: Result<_> = in_order(units)
            .map(|statement| prepared.execute(statement).map_err(failed))
            .collect();
        let results = by_unit(units, rows?);
        transaction.commit().map_err(failed)?;
        committed(units);
        Ok(results)
    }

    /// Sends the rows of units that are committed.
    fn answer(&mut self, results: impl Iterator<Item = (Unit, Rows)>) {
        let mut changes = Vec::new();
        for (unit, rows) in results {
            if unit.purpose >= Purpose::Change && self.syncer.is_some() {
                changes.push((unit.reply, rows));
            } else {
                let _ = unit.reply.send(Ok(rows));
            }
        }
        if let Some(syncer) = &mut self.syncer
            && !changes.is_empty()
        {
            syncer.send(changes);
        }
    }
}

/// Changes that are committed and not durable yet, with their rows.
type Changes = Vec<(oneshot::Sender<Result<Rows>>, Rows)>;

/// A thread that makes changes durable while the next transaction runs.
///
/// After a failed sync, every later change fails too, until [`repair`](Self::repair) has written the log once more.
struct Syncer {
    log: Arc<Log>,
    queue: mpsc::Sender<(u64, Changes)>,
    /// Receives when the thread has taken changes from the queue.
    taken: mpsc::Receiver<()>,
    /// The number of repairs, which is sent with the changes.
    repairs: u64,
    /// The number of repairs, and one more after a failure.
    needed: Arc<AtomicU64>,
    thread: thread::JoinHandle<()>,
}

impl Syncer {
    fn spawn(log: Log) -> Result<Self> {
        let log = Arc::new(log);
        let (queue, changes) = mpsc::channel(1);
        let (take, taken) = mpsc::channel(1);
        let needed = Arc::<AtomicU64>::default();
        let run = {
            let (log, needed) = (Arc::clone(&log), Arc::clone(&needed));
            move || sync(&log, changes, &take, &needed)
        };
        let thread = thread::Builder::new().name("ledger sync".to_owned()).spawn(run)?;
        Ok(Self {
            log,
            queue,
            taken,
            repairs: 0,
            needed,
            thread,
        })
    }

    /// Returns when the sync before has ended: meanwhile, more changes arrive, which share the next transaction.
    fn send(&mut self, changes: Changes) {
        // It fails only if the thread has panicked: the callers see that their reply is dropped.
        let _ = self.queue.blocking_send((self.repairs, changes));
        let _ = self.taken.blocking_recv();
    }

    /// Makes the log usable again after a failed sync.
    fn repair(&mut self, connection: &Connection) -> Result<()> {
        let needed = self.needed.load(Ordering::SeqCst);
        if needed > self.repairs {
            rewrite(&self.log, connection)?;
            self.repairs = needed;
        }
        Ok(())
    }

    /// Waits for the last sync. SQLite removes the log when its last connection is closed.
    fn end(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

/// Writes the log once more, while nothing else can.
pub(super) fn rewrite(log: &Log, connection: &Connection) -> Result<()> {
    // It is rolled back.
    let _locked = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
    log.rewrite()
}

fn sync(log: &Log, mut queue: mpsc::Receiver<(u64, Changes)>, take: &mpsc::Sender<()>, needed: &AtomicU64) {
    let mut failure: Option<Error> = None;
    while let Some((repairs, changes)) = queue.blocking_recv() {
        let _ = take.blocking_send(());
        if repairs == needed.load(Ordering::SeqCst) {
            failure = log.sync().err();
            if failure.is_some() {
                needed.fetch_add(1, Ordering::SeqCst);
            }
        }
        for (reply, rows) in changes {
            let _ = reply.send(failure.clone().map_or(Ok(rows), Err));
        }
    }
}

/// The prepared statements of a transaction. Most transactions repeat a few statements for each unit.
struct Prepared<'a> {
    connection: &'a Connection,
    /// Those with a constant text, which is compared by its address.
    statements: Vec<(&'static str, CachedStatement<'a>)>,
}

impl<'a> Prepared<'a> {
    fn new(connection: &'a Connection) -> Self {
        Self {
            connection,
            statements: Vec::new(),
        }
    }

    fn execute(&mut self, statement: &Statement) -> rusqlite::Result<Vec<Row>> {
        if let Some(guard) = statement.sql.guard
            && self.run(guard, &[])?.is_empty()
        {
            return Ok(Vec::new());
        }
        match statement.sql.text {
            Cow::Borrowed(sql) => self.run(sql, &statement.parameters),
            Cow::Owned(_) => execute(self.connection, statement),
        }
    }

    fn run(&mut self, sql: &'static str, parameters: &[Value]) -> rusqlite::Result<Vec<Row>> {
        if let Some((_, prepared)) = self.statements.iter_mut().find(|(known, _)| ptr::eq(*known, sql)) {
            return run(prepared, parameters);
        }
        let mut prepared = prepare(self.connection, sql)?;
        let rows = run(&mut prepared, parameters);
        self.statements.push((sql, prepared));
        rows
    }
}

/// Runs a statement, whatever its guard returns.
pub(super) fn execute(connection: &Connection, statement: &Statement) -> rusqlite::Result<Vec<Row>> {
    let mut prepared = prepare(connection, &statement.sql)?;
    run(&mut prepared, &statement.parameters)
}

/// Prepares a statement. Its parameters must occur in their order: SQLite gives `$2` the first value if it occurs before `$1`.
fn prepare<'a>(connection: &'a Connection, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
    let prepared = connection.prepare_cached(sql)?;
    for index in 1..=prepared.parameter_count() {
        let name = prepared.parameter_name(index).unwrap_or_default();
        if name.strip_prefix('$').and_then(|number| number.parse().ok()) != Some(index) {
            return Err(rusqlite::Error::InvalidParameterName(name.to_owned()));
        }
    }
    Ok(prepared)
}

fn run(prepared: &mut rusqlite::Statement<'_>, parameters: &[Value]) -> rusqlite::Result<Vec<Row>> {
    let columns = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values: rusqlite::Result<Vec<Value>> = (0..columns).map(|column| row.get(column)).collect();
        found.push(Row::new(values?));
    }
    Ok(found)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::{
        fs::{self, File},
        path::Path,
        time::SystemTime,
    };

    use kazoo_storage::ErrorKind;

    use super::{
        super::{connect, open},
        *,
    };
    use crate::database::{Database, statement};

    async fn register(database: &Database, name: &str) -> Result<()> {
        let sql = "INSERT INTO receivers (name, active) VALUES ($1, 1)";
        database.change(vec![statement!(sql, name)]).await.map(drop)
    }

    async fn receivers(database: &Database) -> Vec<String> {
        let names = database.read(vec![statement!("SELECT name FROM receivers ORDER BY name")]);
        let rows = names.await.unwrap().remove(0).into_iter();
        rows.map(|mut row| row.text().unwrap()).collect()
    }

    /// Opens the database at `path` with a log whose syncs fail.
    fn open_failing(path: &Path) -> Database {
        let database = open(path, true).unwrap();
        let changes = spawn(
            "ledger writer",
            connect(path).unwrap(),
            Some(Log::failing(path)),
            &database.threads,
        );
        Database {
            changes: changes.unwrap(),
            ..database
        }
    }

    #[test]
    fn a_statement_whose_guard_returns_nothing_is_skipped() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        let mut insert = statement!("INSERT INTO t VALUES (1) RETURNING a");
        insert.sql.guard = Some("SELECT 1 FROM t");
        let mut prepared = Prepared::new(&connection);
        assert_eq!(prepared.execute(&insert).unwrap().len(), 0);
        prepared.execute(&statement!("INSERT INTO t VALUES (0)")).unwrap();
        assert_eq!(prepared.execute(&insert).unwrap().len(), 1);
    }

    #[test]
    fn refuses_parameters_that_would_get_the_values_of_others() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (a, b)").unwrap();
        let swapped = statement!("INSERT INTO t (b, a) VALUES ($2, $1)", 1, 2);
        let error = execute(&connection, &swapped).unwrap_err();
        assert_eq!(error, rusqlite::Error::InvalidParameterName("$2".to_owned()));
        let repeated = statement!("INSERT INTO t VALUES ($1, $2), ($2, $1)", 1, 2);
        execute(&connection, &repeated).unwrap();
    }

    #[tokio::test]
    async fn a_restart_after_a_failed_sync_keeps_what_was_acknowledged_and_writes_the_log_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        let log = directory.path().join("ledger.sqlite-wal");
        // Keeps the log, as a crash does.
        let _open = open(&path, true).unwrap();
        let database = open_failing(&path);
        register(&open(&path, true).unwrap(), "acknowledged").await.unwrap();
        for refused in ["not synced", "not written"] {
            let error = register(&database, refused).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.message().contains("cannot be synced"), "{error}");
        }
        drop(database);

        let before = fs::read(&log).unwrap();
        let old = SystemTime::UNIX_EPOCH;
        File::options()
            .write(true)
            .open(&log)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let database = open(&path, true).unwrap();
        assert!(
            log.metadata().unwrap().modified().unwrap() > old,
            "the log was not written"
        );
        assert!(fs::read(&log).unwrap() == before, "the log has other content");
        register(&database, "later").await.unwrap();
        assert_eq!(receivers(&database).await, ["acknowledged", "later", "not synced"]);
    }
}
