//! [`Database`]: runs statements, many units of work in one transaction.

#[cfg(feature = "metrics")]
mod cause;
#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;
mod value;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use kazoo_storage::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};

use crate::measure;

#[cfg(feature = "metrics")]
pub(crate) use self::cause::Cause;
#[cfg(feature = "postgres")]
pub(crate) use self::postgres::Address;
pub(crate) use self::value::{Row, Statement, Value, statement};

/// Maximum number of units that wait for a connection. More wait in their callers.
const QUEUE: usize = 1024;

/// Statements that take effect together or not at all, and where to send their rows.
#[derive(Debug)]
struct Unit {
    /// `false` if the statements change nothing.
    writes: bool,
    statements: Vec<Statement>,
    reply: oneshot::Sender<Result<Vec<Vec<Row>>>>,
}

/// The program that keeps a database, where its SQL differs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A database with one connection that writes and one that reads.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    engine: Engine,
    writer: mpsc::Sender<Unit>,
    reader: mpsc::Sender<Unit>,
    /// The threads of SQLite.
    threads: Threads,
}

impl Database {
    /// Opens the SQLite database at `path`, and creates it if it does not exist.
    pub(crate) fn sqlite(path: &Path, durable: bool) -> Result<Self> {
        sqlite::open(path, durable)
    }

    /// Opens the PostgreSQL database at `address`, and creates the tables if they do not exist.
    #[cfg(feature = "postgres")]
    pub(crate) async fn postgres(address: &Address, durable: bool) -> Result<Self> {
        postgres::open(address, durable).await
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Runs `statements` in order in one transaction, which may include other units. Returns the rows of each after the
    /// commit.
    pub(crate) async fn write(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        send(&self.writer, true, statements).await
    }

    /// Returns the rows of each of `statements`, which change nothing and see the same state.
    pub(crate) async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        send(&self.reader, false, statements).await
    }

    /// Runs what was sent so far, and closes the connections of SQLite. Everything that is sent later fails.
    pub(crate) async fn close(&self) {
        self.threads.closing.store(true, Ordering::SeqCst);
        for connection in [&self.reader, &self.writer] {
            // Wakes the thread.
            let _ = send(connection, false, Vec::new()).await;
        }
        let running = std::mem::take(&mut *self.threads.running.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = tokio::task::spawn_blocking(move || running.into_iter().for_each(|thread| drop(thread.join())));
        let _ = joined.await;
    }
}

/// The threads of a database, which end when it is closed.
#[derive(Clone, Debug, Default)]
struct Threads {
    closing: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<thread::JoinHandle<()>>>>,
}

async fn send(connection: &mpsc::Sender<Unit>, writes: bool, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
    let stopped = || Error::new(ErrorKind::Unavailable, "the connection to the ledger has ended");
    let (reply, rows) = oneshot::channel();
    let unit = Unit {
        writes,
        statements,
        reply,
    };
    let run = async {
        connection.send(unit).await.map_err(|_| stopped())?;
        rows.await.map_err(|_| stopped())?
    };
    run.await.inspect_err(measure::failed)
}

/// Measures a commit of `units`.
fn committed(units: &[Unit]) {
    if units.first().is_some_and(|unit| unit.writes) {
        measure::committed(units.len());
    }
}
