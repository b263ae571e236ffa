//! The schema `kazoo_storage`, in which the ledger has its tables, and its version.

use tokio_postgres::{Client, error::SqlState};

use super::{address::Address, connection::Connection, failure::Failure};

/// The statements that create each version of the tables from the one before.
const MIGRATIONS: [&str; 4] = [
    include_str!("1.sql"),
    include_str!("2.sql"),
    include_str!("3.sql"),
    include_str!("4.sql"),
];

/// The oldest PostgreSQL with every statement of the ledger.
const OLDEST: i64 = 12;

/// The number of the lock that one program holds while it changes the tables: `KZLG`.
const LOCK: i64 = 0x4B5A_4C47;

/// Brings the schema to the newest version.
pub(super) async fn migrate(address: &Address) -> Result<(), Failure> {
    // The end of the connection ends the transaction, and the lock.
    let connection = Connection::open_any(address).await?;
    let client = connection.client();
    client
        .batch_execute("BEGIN; SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0")
        .await?;
    client.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    check_server(client).await?;
    let seen = match version(client).await? {
        Some(version) => version,
        None => create(client).await?,
    };
    let seen = known(seen)?;
    for migration in MIGRATIONS.iter().skip(seen) {
        client.batch_execute(migration).await?;
    }
    if seen < MIGRATIONS.len() {
        let newest = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        client
            .execute("UPDATE ledger_schema SET version = $1", &[&newest])
            .await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(())
}

/// Fails if the schema is not that of this program: another program may have changed the database since it was opened.
pub(super) async fn check(client: &Client) -> Result<(), Failure> {
    const SQL: &str = "SELECT version FROM ledger_schema";
    let row = match client.query_one(SQL, &[]).await {
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            return Err(Failure::lost(
                "the database has no ledger anymore; restart this program",
            ));
        }
        row => row?,
    };
    if known(row.try_get(0)?)? < MIGRATIONS.len() {
        return Err(Failure::lost(
            "the schema of the ledger is older than before; restart this program",
        ));
    }
    Ok(())
}

async fn check_server(client: &Client) -> Result<(), Failure> {
    const SQL: &str =
        "SELECT CAST(current_setting('server_version_num') AS BIGINT), current_setting('server_encoding')";
    let row = client.query_one(SQL, &[]).await?;
    let (version, encoding): (i64, String) = (row.try_get(0)?, row.try_get(1)?);
    if version / 10_000 < OLDEST {
        let message = format!("it needs PostgreSQL {OLDEST} or newer");
        return Err(Failure::unusable(message));
    }
    if encoding != "UTF8" {
        let message = format!("the encoding of the database is {encoding}; create one with ENCODING 'UTF8'");
        return Err(Failure::unusable(message));
    }
    Ok(())
}

/// Returns the version of the tables, or `None` if there are none.
async fn version(client: &Client) -> Result<Option<i64>, Failure> {
    const TABLES: &str = "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = 'kazoo_storage' AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let rows = client.query(TABLES, &[]).await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Ok(None);
    }
    if !names.iter().any(|name| name == "ledger_schema") {
        return Err(Failure::unusable(
            "its schema `kazoo_storage` has the tables of another program; name another database",
        ));
    }
    let row = client.query_one("SELECT version FROM ledger_schema", &[]).await?;
    Ok(Some(row.try_get(0)?))
}

/// Creates what holds the version. The schema may exist already, so that the user needs no privilege on the database.
async fn create(client: &Client) -> Result<i64, Failure> {
    const EXISTS: &str = "SELECT 1 FROM pg_namespace WHERE nspname = 'kazoo_storage'";
    if client.query_opt(EXISTS, &[]).await?.is_none() {
        client.batch_execute("CREATE SCHEMA kazoo_storage").await?;
    }
    client
        .batch_execute("CREATE TABLE ledger_schema (version BIGINT NOT NULL); INSERT INTO ledger_schema VALUES (0)")
        .await?;
    Ok(0)
}

fn known(version: i64) -> Result<usize, Failure> {
    let newest = MIGRATIONS.len();
    let known = usize::try_from(version).ok().filter(|version| *version <= newest);
    known.ok_or_else(|| {
        Failure::unusable(format!(
            "its schema has version {version}, and this program knows versions up to {newest}; use a newer program"
        ))
    })
}
