//! [`Database`]: runs statements, many units of work in one transaction.

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

pub(crate) use self::cause::Cause;
#[cfg(feature = "postgres")]
pub(crate) use self::postgres::Address;
#[cfg(test)]
pub(crate) use self::sqlite::MIGRATIONS;
pub(crate) use self::value::{Row, Sql, Statement, Value, statement};

/// Maximum number of units that wait for a connection. More wait in their callers.
const QUEUE: usize = 1024;

/// What a unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose {
    Read,
    /// Changes which events are claimed, waiting or delivered. It need not be durable: after a power failure, events are
    /// delivered again.
    Claim,
    /// Puts events off. In PostgreSQL, it waits for no lock, and locks events that another server is about to settle. So it is the
    /// last part of its transaction: a server that waits for it has to wait for nothing else.
    PutOff,
    /// Changes everything else. It is durable before its rows are sent.
    Change,
}

/// Statements that take effect together or not at all, and where to send their rows.
#[derive(Debug)]
struct Unit {
    purpose: Purpose,
    statements: Vec<Statement>,
    /// The statements that append to the audit trail, and those that follow them. In PostgreSQL, an append locks the end of the trail.
    /// So they run after the `statements` of all units: a transaction with this lock waits for none of their rows.
    trail: Vec<Statement>,
    reply: oneshot::Sender<Result<Vec<Vec<Row>>>>,
}

/// The program that keeps a database, where its SQL differs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Engine {
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A database, and the connection for each purpose.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    engine: Engine,
    changes: mpsc::Sender<Unit>,
    claims: mpsc::Sender<Unit>,
    reads: mpsc::Sender<Unit>,
    /// The threads of SQLite.
    threads: Threads,
    /// The number of units that were sent.
    #[cfg(test)]
    pub(crate) sent: Arc<std::sync::atomic::AtomicUsize>,
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

    /// Runs `statements` in order in one transaction, which may include other units. Returns the rows of each when they are
    /// durable.
    pub(crate) async fn change(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        #[cfg(test)]
        self.sent.fetch_add(1, Ordering::SeqCst);
        send(&self.changes, Purpose::Change, statements, Vec::new()).await
    }

    /// Runs `statements` as [`change`](Self::change) does, and then `trail`, which appends to the audit trail. Returns the rows of all.
    pub(crate) async fn audit(&self, statements: Vec<Statement>, trail: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        send(&self.changes, Purpose::Change, statements, trail).await
    }

    /// Runs `statements` as [`change`](Self::change) does. A power failure may undo them.
    pub(crate) async fn claim(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        send(&self.claims, Purpose::Claim, statements, Vec::new()).await
    }

    /// Runs `statements`, which put events off, as [`claim`](Self::claim) does.
    pub(crate) async fn put_off(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        send(&self.claims, Purpose::PutOff, statements, Vec::new()).await
    }

    /// Returns the rows of each of `statements`, which change nothing and see the same state.
    pub(crate) async fn read(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>> {
        #[cfg(test)]
        self.sent.fetch_add(1, Ordering::SeqCst);
        send(&self.reads, Purpose::Read, statements, Vec::new()).await
    }

    /// Returns the rows of `statement`, which changes nothing, before long: a connection for changes runs it, and no search of an
    /// operator delays that.
    pub(crate) async fn read_soon(&self, statement: Statement) -> Result<Vec<Row>> {
        #[cfg(test)]
        self.sent.fetch_add(1, Ordering::SeqCst);
        let rows = send(&self.changes, Purpose::Read, vec![statement], Vec::new()).await?;
        Ok(rows.into_iter().next().unwrap_or_default())
    }

    /// Runs what was sent so far, and closes the connections of SQLite. Everything that is sent later fails.
    pub(crate) async fn close(&self) {
        self.threads.closing.store(true, Ordering::SeqCst);
        for connection in [&self.reads, &self.changes] {
            // Wakes the thread.
            let _ = send(connection, Purpose::Read, Vec::new(), Vec::new()).await;
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

async fn send(
    connection: &mpsc::Sender<Unit>,
    purpose: Purpose,
    statements: Vec<Statement>,
    trail: Vec<Statement>,
) -> Result<Vec<Vec<Row>>> {
    let stopped = || Error::new(ErrorKind::Unavailable, "the connection to the ledger has ended");
    let (reply, rows) = oneshot::channel();
    let unit = Unit {
        purpose,
        statements,
        trail,
        reply,
    };
    let run = async {
        connection.send(unit).await.map_err(|_| stopped())?;
        rows.await.map_err(|_| stopped())?
    };
    run.await
        .inspect_err(|error| measure::failed(Cause::of(error).as_str()))
}

/// Returns the statements of `units` in the order in which a transaction runs them.
fn in_order(units: &[Unit]) -> impl Iterator<Item = &Statement> {
    let statements = units.iter().flat_map(|unit| &unit.statements);
    statements.chain(units.iter().flat_map(|unit| &unit.trail))
}

/// Groups the rows of the statements [`in_order`] by unit.
fn by_unit(units: &[Unit], rows: Vec<Vec<Row>>) -> Vec<Vec<Vec<Row>>> {
    let mut rows = rows.into_iter();
    let statements = units
        .iter()
        .map(|unit| rows.by_ref().take(unit.statements.len()).collect());
    let mut results: Vec<Vec<_>> = statements.collect();
    for (result, unit) in results.iter_mut().zip(units) {
        result.extend(rows.by_ref().take(unit.trail.len()));
    }
    results
}

/// Measures a commit of `units`.
fn committed(units: &[Unit]) {
    if units.first().is_some_and(|unit| unit.purpose != Purpose::Read) {
        measure::committed(units.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_appends_to_the_audit_trail_after_the_statements_of_all_units() {
        let unit = |statements: &[&'static str], trail: &[&'static str]| Unit {
            purpose: Purpose::Change,
            statements: statements.iter().map(|sql| statement!(*sql)).collect(),
            trail: trail.iter().map(|sql| statement!(*sql)).collect(),
            reply: oneshot::channel().0,
        };
        let units = [unit(&["a", "b"], &["1"]), unit(&[], &["2", "3"]), unit(&["c"], &[])];
        let order: Vec<&str> = in_order(&units).map(|statement| &*statement.sql).collect();
        assert_eq!(order, ["a", "b", "c", "1", "2", "3"]);
        let rows = order
            .iter()
            .map(|sql| vec![Row::new(vec![Value::from(*sql)])])
            .collect();
        let results = by_unit(&units, rows).into_iter().map(|rows| {
            let texts = rows.into_iter().flatten().map(|mut row| row.text().unwrap());
            texts.collect::<Vec<_>>()
        });
        assert_eq!(
            results.collect::<Vec<_>>(),
            [vec!["a", "b", "1"], vec!["2", "3"], vec!["c"]]
        );
    }
}
