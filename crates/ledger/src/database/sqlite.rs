//! SQLite: a file, its schema, and its connections.

mod log;
mod worker;

#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt as _;
use std::{fs::OpenOptions, io, path::Path, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result, digest::Digester};
use rusqlite::{
    Connection, ErrorCode, OpenFlags, TransactionBehavior,
    config::DbConfig,
    functions::{Context, FunctionFlags},
};

use self::log::Log;
use super::{Database, Engine, Threads};

/// Marks the file as a ledger (`PRAGMA application_id`): `KZLG`.
const APPLICATION_ID: i64 = 0x4B5A_4C47;

/// The statements that create each version of the schema from the one before. The number of those that a file has
/// seen is its `user_version`.
pub(crate) const MIGRATIONS: [&str; 4] = [
    include_str!("sqlite/1.sql"),
    include_str!("sqlite/2.sql"),
    include_str!("sqlite/3.sql"),
    include_str!("sqlite/4.sql"),
];

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
    let mut writer = connect(path).map_err(at)?;
    migrate(&mut writer).map_err(at)?;
    let mut reader = connect(path).map_err(at)?;
    writer.set_transaction_behavior(TransactionBehavior::Immediate);
    // Without a lock until a statement writes, which none of its statements does.
    reader.set_transaction_behavior(TransactionBehavior::Deferred);
    let log = Log::open(path, durable).map_err(|error| at(failed_to_create(error)))?;
    // The process before may have ended after a failed sync.
    worker::rewrite(&log, &writer).map_err(at)?;
    let threads = Threads::default();
    let changes = worker::spawn("ledger writer", writer, Some(log), &threads)?;
    Ok(Database {
        engine: Engine::Sqlite,
        // SQLite has one writer at a time.
        claims: changes.clone(),
        changes,
        reads: worker::spawn("ledger reader", reader, None, &threads)?,
        threads,
        #[cfg(test)]
        sent: std::sync::Arc::default(),
    })
}

/// Creates the file if it does not exist. It contains callers' numbers, and SQLite gives its other files the same mode.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // An existing file is not opened: to close it would end the locks of another connection of this process.
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o640);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created.map(drop),
    }
}

fn failed_to_create(error: io::Error) -> Error {
    let message = match error.kind() {
        io::ErrorKind::NotFound => "its directory does not exist; create it",
        io::ErrorKind::PermissionDenied => "the file, or its directory, cannot be written; check the permissions",
        _ => "the file cannot be opened",
    };
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

fn connect(path: &Path) -> Result<Connection> {
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
    // With a write-ahead log, a commit is one sync, and readers do not wait for writers. With `NORMAL`, SQLite leaves that sync
    // to `Log`, and keeps its own that protect the file. A checkpoint copies the log into the file, with two more syncs; it
    // begins at 32 MiB, which is a few thousand uploads.
    let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192; \
         PRAGMA journal_size_limit = 67108864; PRAGMA temp_store = MEMORY;";
    connection.execute_batch(pragmas).map_err(failed)?;
    connection
        .create_scalar_function(
            "audit_hash",
            2,
            FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC,
            audit_hash,
        )
        .map_err(failed)?;
    Ok(connection)
}

/// Returns the hash of an audit entry that follows the one with this hash.
fn audit_hash(arguments: &mut Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let mut digester = Digester::new();
    for position in 0..arguments.len() {
        digester.update(arguments.get_raw(position).as_blob()?);
    }
    Ok(digester.finish().as_bytes().to_vec())
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
    use rusqlite::{StatementStatus, params_from_iter};

    use super::{worker::execute, *};
    use crate::{database::Statement, file::FileRecord, outbox, record::store};

    fn ledger() -> (tempfile::TempDir, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = connect(&directory.path().join("ledger.sqlite")).unwrap();
        migrate(&mut connection).unwrap();
        (directory, connection)
    }

    #[test]
    fn a_name_is_not_a_uri() {
        // It is relative: an absolute path does not begin with `file:`.
        let error = connect(Path::new("file:absent/ledger?mode=memory")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_statement_is_compiled_once() {
        let (_directory, connection) = ledger();
        let key = BlobKey::from_path("/ACCOUNT/202401-DOCUMENT/fax_file.tiff").unwrap();
        for size in 0..3 {
            let event = size.to_string();
            for statement in store(Engine::Sqlite, &FileRecord::new(&key, size, None), &event) {
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

    fn fill_outbox(connection: &Connection, due_at: &str) {
        let fill = format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 20000) \
             INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, key, kind, size, stored_at) \
             SELECT 'crm', 'e' || n, 'file.stored', 0, {due_at}, 'a', 'other', 0, 0 FROM n"
        );
        connection.execute_batch(&fill).unwrap();
    }

    /// Claims events, and returns their number. Uploads wait meanwhile.
    fn claim(connection: &Connection) -> usize {
        let claim = outbox::claiming(Engine::Sqlite, "crm", 64, Duration::from_secs(60));
        let claimed = execute(connection, &claim).unwrap().len();
        let prepared = connection.prepare_cached(&claim.sql).unwrap();
        let steps = prepared.reset_status(StatementStatus::VmStep);
        assert!(steps < 256 * 50, "{steps} steps");
        claimed
    }

    #[test]
    fn a_claim_costs_the_same_however_many_events_wait_behind_another() {
        let (_directory, connection) = ledger();
        fill_outbox(&connection, "0");
        for claimed in [1, 0, 0] {
            assert_eq!(claim(&connection), claimed);
        }
    }

    #[test]
    fn a_claim_costs_the_same_however_many_dead_events_a_key_has() {
        let (_directory, connection) = ledger();
        fill_outbox(&connection, "NULL");
        connection
            .execute_batch("UPDATE outbox SET due_at = 0 WHERE seq > 19990")
            .unwrap();
        for claimed in [1, 0] {
            assert_eq!(claim(&connection), claimed);
        }
    }

    /// A statement whose cost grows with the dead events of a key searches an index that has them.
    #[test]
    fn the_queue_of_a_key_is_in_an_index_without_dead_events() {
        let (_directory, connection) = ledger();
        let key = BlobKey::from_path("a/b/c").unwrap();
        let statements = [
            outbox::claiming(Engine::Sqlite, "crm", 64, Duration::from_secs(60)),
            outbox::putting_off(Engine::Sqlite, "crm"),
            outbox::release("crm", &key, 1),
            outbox::release_behind("e", None),
        ];
        for Statement { sql, parameters } in statements {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(params_from_iter(parameters), |row| row.get(3));
            let steps: Vec<String> = rows.unwrap().map(rusqlite::Result::unwrap).collect();
            let mut keys = steps.iter().filter(|step| step.contains("key=?"));
            assert!(keys.all(|step| step.contains("outbox_by_key")), "{steps:?}");
            assert!(steps.iter().any(|step| step.contains("outbox_by_key")), "{steps:?}");
            let scanned = steps.iter().filter(|step| step.starts_with("SCAN"));
            let names = ["w", "b", "chosen", "blocked"];
            assert!(
                scanned
                    .clone()
                    .all(|step| names.iter().any(|name| step == &format!("SCAN {name}"))),
                "{steps:?}"
            );
        }
    }
}
