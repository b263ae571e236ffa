//! [`Site`]: a ledger in a database of its own.

use std::{
    env,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use kazoo_storage::{ErrorKind, MemoryStore};
use kazoo_storage_ledger::{Ledger, LedgerOptions, Location, Recorded};
use tempfile::TempDir;

/// Names a PostgreSQL whose user may create databases. If it is set, the tests use it in place of SQLite.
const SERVER: &str = "KAZOO_STORAGE_TEST_POSTGRES";

/// Is set while something kills that server and restarts it, in this interval in seconds.
pub(super) const KILLED: &str = "KAZOO_STORAGE_TEST_POSTGRES_KILLED";

/// A ledger in a database of its own.
pub(super) struct Site {
    database: Database,
    pub(super) ledger: Ledger,
}

enum Database {
    Sqlite(TempDir),
    Postgres(Postgres),
}

impl Site {
    /// A ledger in SQLite, or in PostgreSQL if the environment names one.
    pub(super) async fn new() -> Self {
        if env::var_os(SERVER).is_some() {
            Self::postgres().await
        } else {
            Self::sqlite().await
        }
    }

    pub(super) async fn sqlite() -> Self {
        Self::open(Database::Sqlite(tempfile::tempdir().unwrap())).await
    }

    pub(super) async fn postgres() -> Self {
        Self::open(Database::Postgres(Postgres::new())).await
    }

    async fn open(database: Database) -> Self {
        let ledger = open(&database.location()).await;
        Self { database, ledger }
    }

    /// Opens the ledger once more, as another process would.
    pub(super) async fn open_again(&self) -> Ledger {
        open(&self.database.location()).await
    }

    /// Returns `true` if several servers may use the ledger.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    pub(super) fn location(&self) -> Location {
        self.database.location()
    }

    /// The file of the SQLite database.
    pub(super) fn path(&self) -> PathBuf {
        match &self.database {
            Database::Sqlite(directory) => directory.path().join("ledger.sqlite"),
            Database::Postgres(_) => panic!("the ledger is not in a file"),
        }
    }

    /// The URL of the PostgreSQL database.
    pub(super) fn url(&self) -> &str {
        match &self.database {
            Database::Sqlite(_) => panic!("the ledger is a file"),
            Database::Postgres(postgres) => &postgres.url,
        }
    }

    pub(super) fn store(&self) -> Recorded<MemoryStore> {
        Recorded::new(MemoryStore::new(), self.ledger.clone())
    }

    /// Runs `sql` on a connection of its own, as another process would.
    pub(super) fn execute(&self, sql: &str) {
        match &self.database {
            Database::Sqlite(_) => rusqlite::Connection::open(self.path())
                .unwrap()
                .execute_batch(sql)
                .unwrap(),
            Database::Postgres(postgres) => execute(&postgres.url, &format!("SET search_path = kazoo_storage; {sql}")),
        }
    }

    /// The number of rows of `table`.
    pub(super) async fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        match &self.database {
            Database::Sqlite(_) => {
                let connection = rusqlite::Connection::open(self.path()).unwrap();
                connection.query_row(&sql, [], |row| row.get(0)).unwrap()
            }
            Database::Postgres(postgres) => {
                let (client, connection) = tokio_postgres::connect(&postgres.url, tokio_postgres::NoTls)
                    .await
                    .unwrap();
                tokio::spawn(connection);
                client.batch_execute("SET search_path = kazoo_storage").await.unwrap();
                client.query_one(&sql, &[]).await.unwrap().get(0)
            }
        }
    }

    /// Makes each `operation` on `table` fail for the rows with this `condition`.
    pub(super) fn refuse(&self, operation: &str, table: &str, condition: Option<&str>) {
        let when = condition.map_or(String::new(), |condition| format!("WHEN ({condition})"));
        let trigger =
            format!("CREATE TRIGGER refuse_{table}_{operation} BEFORE {operation} ON {table} FOR EACH ROW {when}");
        self.execute(&match self.database {
            Database::Sqlite(_) => format!("{trigger} BEGIN SELECT RAISE(FAIL, 'full'); END"),
            Database::Postgres(_) => format!(
                "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION 'full'; END $$; {trigger} EXECUTE FUNCTION refuse()"
            ),
        });
    }

    /// Ends the effect of [`refuse`](Self::refuse).
    pub(super) fn accept(&self, operation: &str, table: &str) {
        let on = match self.database {
            Database::Sqlite(_) => String::new(),
            Database::Postgres(_) => format!("ON {table}"),
        };
        self.execute(&format!("DROP TRIGGER refuse_{table}_{operation} {on}"));
    }
}

async fn open(location: &Location) -> Ledger {
    // A test needs no sync: it survives its own process.
    open_with(Ledger::options().durable(false), location).await
}

/// Opens a ledger, again while PostgreSQL restarts.
pub(super) async fn open_with(options: LedgerOptions, location: &Location) -> Ledger {
    loop {
        match options.clone().open(location).await {
            Err(error) if error.kind() == ErrorKind::Unavailable && env::var_os(KILLED).is_some() => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            ledger => return ledger.unwrap(),
        }
    }
}

impl Database {
    fn location(&self) -> Location {
        match self {
            Self::Sqlite(directory) => Location::sqlite(directory.path().join("ledger.sqlite")),
            Self::Postgres(postgres) => postgres.url.parse().unwrap(),
        }
    }
}

/// A PostgreSQL database, until it is dropped.
pub(super) struct Postgres {
    server: String,
    name: String,
    pub(super) url: String,
}

impl Postgres {
    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// Creates a database with these options of `CREATE DATABASE`.
    pub(super) fn with(options: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = env::var(SERVER).expect("KAZOO_STORAGE_TEST_POSTGRES is the URL of a PostgreSQL");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        let (base, _) = server.rsplit_once('/').unwrap();
        let url = format!("{base}/{name}");
        execute(&server, &format!("CREATE DATABASE {name} {options}"));
        Self { server, name, url }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        execute(
            &self.server,
            &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
        );
    }
}

/// Runs `sql`, again while PostgreSQL restarts.
pub(super) fn execute(url: &str, sql: &str) {
    thread::scope(|scope| {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                while let Err(error) = try_execute(url, sql).await {
                    let restarts = error.code().is_none_or(|code| code.code().starts_with("57P"));
                    assert!(restarts, "{sql}: {error:?}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        };
        // A runtime cannot wait for another one on its own thread.
        scope.spawn(run).join().unwrap();
    });
}

async fn try_execute(url: &str, sql: &str) -> Result<(), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
    tokio::spawn(connection);
    client.batch_execute(sql).await
}
