//! SQLite: a file, a thread that writes, and a thread that reads.

#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::{
    fs::OpenOptions,
    io,
    path::Path,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use kazoo_storage::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig, params_from_iter};
use tokio::sync::mpsc;

use super::{Database, Engine, QUEUE, Row, Statement, Threads, Unit, Value};

/// Marks the file as a ledger (`PRAGMA application_id`): `KZLG`.
const APPLICATION_ID: i64 = 0x4B5A_4C47;

/// The statements that create each version of the schema from the one before. The number of those that a file has
/// seen is its `user_version`.
const MIGRATIONS: [&str; 2] = [include_str!("sqlite/1.sql"), include_str!("sqlite/2.sql")];

/// Maximum number of units in a transaction. It bounds the time until the first of them is acknowledged.
const BATCH: usize = 256;

/// Time to wait for another process that writes, such as a command of the operator.
const BUSY: Duration = Duration::from_secs(10);

pub(super) fn open(path: &Path, durable: bool) -> Result<Database> {
    let at = |error: Error| {
        let message = format!("cannot open the ledger {}: {}", path.display(), error.message());
        Error::new(error.kind(), message).with_source(error)
    };
    if path.is_dir() {
        return Err(at(Error::new(
            ErrorKind::Conflict,
            "it is a directory; name a file in it",
        )));
    }
    create(path).map_err(|error| at(failed_to_create(error)))?;
    let mut writer = connect(path, durable).map_err(at)?;
    migrate(&mut writer).map_err(at)?;
    let reader = connect(path, durable).map_err(at)?;
    let threads = Threads::default();
    Ok(Database {
        engine: Engine::Sqlite,
        writer: spawn("ledger writer", writer, TransactionBehavior::Immediate, &threads)?,
        // Without a lock until a statement writes, which none of its statements does.
        reader: spawn("ledger reader", reader, TransactionBehavior::Deferred, &threads)?,
        threads,
    })
}

/// Creates the file if it does not exist. It has the numbers of callers, and SQLite gives its other files the same mode.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    options.mode(0o640);
    options.open(path).map(drop)
}

fn failed_to_create(error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "its directory does not exist; create it",
        io::ErrorKind::PermissionDenied => "the file, or its directory, cannot be written; check the permissions",
        _ => "the file cannot be opened",
    };
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

fn connect(path: &Path, durable: bool) -> Result<Connection> {
    // A name that begins with `file:` would be a URI.
    let path = Path::new(".").join(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Otherwise SQLite compiles a statement again for each value of some parameters.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(failed)?;
    // With `OFF`, a power failure could damage the file. With `NORMAL`, it loses the last commits.
    let synchronous = if durable { "FULL" } else { "NORMAL" };
    // With a write-ahead log, a commit is one sync, and readers do not wait for writers. A checkpoint copies the log into
    // the file, with two more syncs; it begins at 32 MiB, which is a few thousand uploads.
    let pragmas = format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}; PRAGMA wal_autocheckpoint = 8192; \
         PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;"
    );
    connection.execute_batch(&pragmas).map_err(failed)?;
    Ok(connection)
}

/// Brings the schema to the newest version.
fn migrate(connection: &mut Connection) -> Result<()> {
    let newest = MIGRATIONS.len();
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    let pragma = |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (
        pragma("application_id").map_err(failed)?,
        pragma("user_version").map_err(failed)?,
    );
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(Error::new(
            ErrorKind::Conflict,
            "it is the database of another program; name another file",
        ));
    }
    let seen = usize::try_from(version).ok().filter(|seen| *seen <= newest);
    let Some(seen) = seen else {
        let message = format!(
            "its schema has version {version}, and this program knows versions up to {newest}; use a newer program"
        );
        return Err(Error::new(ErrorKind::Conflict, message));
    };
    for migration in MIGRATIONS.iter().skip(seen) {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    if seen < newest {
        transaction
            .execute_batch(&format!(
                "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {newest};"
            ))
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

/// Runs the units that arrive on a thread of their own, until no sender is left or the database is closed.
fn spawn(
    name: &str,
    mut connection: Connection,
    behavior: TransactionBehavior,
    threads: &Threads,
) -> Result<mpsc::Sender<Unit>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let closing = Arc::clone(&threads.closing);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        connection.set_transaction_behavior(behavior);
        serve(&connection, receiver, &closing);
    })?;
    threads
        .running
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(thread);
    Ok(sender)
}

fn serve(connection: &Connection, mut units: mpsc::Receiver<Unit>, closing: &AtomicBool) {
    let mut batch = Vec::with_capacity(BATCH);
    while units.blocking_recv_many(&mut batch, BATCH) > 0 {
        if closing.load(Ordering::SeqCst) {
            units.close();
        }
        // A caller that is gone has not been promised anything.
        batch.retain(|unit| !unit.reply.is_closed());
        match run(connection, &batch) {
            Ok(results) => {
                for (unit, rows) in batch.drain(..).zip(results) {
                    let _ = unit.reply.send(Ok(rows));
                }
            }
            // One of them may be the cause, such as a value that is too large.
            Err(_) if batch.len() > 1 => {
                for unit in batch.drain(..) {
                    let rows = run(connection, std::slice::from_ref(&unit));
                    let _ = unit
                        .reply
                        .send(rows.map(|mut results| results.pop().unwrap_or_default()));
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

/// Runs `units` in one transaction. Returns the rows of each statement of each unit.
fn run(connection: &Connection, units: &[Unit]) -> Result<Vec<Vec<Vec<Row>>>> {
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    let mut results = Vec::with_capacity(units.len());
    for unit in units {
        let rows: Result<_> = unit
            .statements
            .iter()
            .map(|statement| execute(&transaction, statement).map_err(failed))
            .collect();
        results.push(rows?);
    }
    transaction.commit().map_err(failed)?;
    super::committed(units);
    Ok(results)
}

fn execute(connection: &Connection, statement: &Statement) -> rusqlite::Result<Vec<Row>> {
    let mut prepared = connection.prepare_cached(&statement.sql)?;
    let columns = prepared.column_count();
    let mut rows = prepared.query(params_from_iter(&statement.parameters))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let values: rusqlite::Result<Vec<Value>> = (0..columns).map(|column| row.get(column)).collect();
        found.push(Row::new(values?));
    }
    Ok(found)
}

/// The same request may succeed later, unless the file itself is wrong. The error of SQLite is the source: it contains
/// no values.
fn failed(error: rusqlite::Error) -> Error {
    let (kind, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (ErrorKind::Unavailable, "the file system of the ledger is full"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::Unavailable,
            "another process has locked the ledger for too long",
        ),
        Some(ErrorCode::NotADatabase) => (ErrorKind::Conflict, "it is not a database; name another file"),
        Some(ErrorCode::DatabaseCorrupt) => (
            ErrorKind::Damaged,
            "it is damaged; restore a backup, or move it away and run `reindex`",
        ),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::Unavailable,
            "the file cannot be opened; check its directory and the permissions",
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            ErrorKind::Unavailable,
            "the file cannot be written; check the permissions",
        ),
        _ => (ErrorKind::Unavailable, "the ledger failed"),
    };
    Error::new(kind, message).with_source(error)
}

#[cfg(test)]
mod tests {
    use kazoo_storage::BlobKey;
    use rusqlite::StatementStatus;

    use super::*;
    use crate::{file::FileRecord, outbox, rows::store};

    fn ledger() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = connect(&directory.path().join("ledger.sqlite"), false).unwrap();
        migrate(&mut connection).unwrap();
        (directory, connection)
    }

    #[test]
    fn a_name_is_not_a_uri() {
        // It is relative: an absolute path does not begin with `file:`.
        let error = connect(Path::new("file:absent/ledger?mode=memory"), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_statement_is_compiled_once() {
        let (_directory, connection) = ledger();
        let key = BlobKey::from_path("/ACCOUNT/202401-DOCUMENT/fax_file.tiff").unwrap();
        for size in 0..3 {
            let event = size.to_string();
            let statements = [
                store(&FileRecord::new(&key, size, None), &event),
                outbox::stored(&key, &event),
            ];
            for statement in statements {
                execute(&connection, &statement).unwrap();
                let prepared = connection.prepare_cached(&statement.sql).unwrap();
                assert_eq!(
                    prepared.get_status(StatementStatus::Run),
                    i32::try_from(size).unwrap() + 1
                );
                assert_eq!(prepared.get_status(StatementStatus::RePrepare), 0, "{}", statement.sql);
            }
        }
    }
    /// Uploads wait while events are claimed.
    #[test]
    fn a_claim_costs_the_same_however_many_events_wait_behind_another() {
        let (_directory, connection) = ledger();
        let fill = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000) \
            INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, key, kind, size, stored_at) \
            SELECT 'crm', 'e' || n, 'file.stored', 0, 0, 'a', 'other', 0, 0 FROM n";
        connection.execute_batch(fill).unwrap();
        for claimed in [1, 0, 0] {
            let claim = outbox::claiming(Engine::Sqlite, "crm", 64, Duration::from_secs(60));
            assert_eq!(execute(&connection, &claim).unwrap().len(), claimed);
            let prepared = connection.prepare_cached(&claim.sql).unwrap();
            let steps = prepared.reset_status(StatementStatus::VmStep);
            assert!(steps < 256 * 50, "{steps} steps");
        }
    }
}
