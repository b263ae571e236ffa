//! PostgreSQL: a task that writes and a task that reads, each with a connection of its own.

mod address;
mod connection;
mod failure;
mod schema;
mod tls;
mod value;

use std::time::Duration;

use kazoo_storage::{Error, Result};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

pub(crate) use self::address::Address;
#[cfg(feature = "metrics")]
pub(super) use self::failure::Code;
use self::{
    connection::{Connection, Role},
    failure::{Cause, Failure},
};
use super::{Database, Engine, QUEUE, Row, Threads, Unit, committed};

/// Maximum number of units in a transaction. It bounds the time until the first of them is acknowledged.
const BATCH: usize = 256;

/// Time for a transaction. It is longer than the time that PostgreSQL has for a statement, so it ends only connections
/// whose other end is gone.
const TRANSACTION: Duration = Duration::from_secs(20);

/// Number of attempts to run a transaction that waits for another server's, which waits for it.
const ATTEMPTS: usize = 4;

/// Times between two attempts to connect: the first, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Opens the database at `address`, and creates the schema if it does not exist.
pub(super) async fn open(address: &Address, durable: bool) -> Result<Database> {
    let at = |failure: Failure| {
        let message = format!("cannot open the ledger {address}: {}", failure.error.message());
        Error::new(failure.error.kind(), message).with_source(failure.error)
    };
    schema::migrate(address).await.map_err(at)?;
    Ok(Database {
        engine: Engine::Postgres,
        writer: spawn(address, Role::Write { durable }).await.map_err(at)?,
        reader: spawn(address, Role::Read).await.map_err(at)?,
        threads: Threads::default(),
    })
}

/// Connects, and runs the units that arrive in a task.
async fn spawn(address: &Address, role: Role) -> Result<mpsc::Sender<Unit>, Failure> {
    let mut session = Session::new(address.clone(), role);
    session.connection().await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(serve(session, receiver));
    Ok(sender)
}

/// Runs the units that arrive, until no sender is left.
async fn serve(mut session: Session, mut units: mpsc::Receiver<Unit>) {
    let mut batch = Vec::with_capacity(BATCH);
    while units.recv_many(&mut batch, BATCH).await > 0 {
        // A caller that is gone has not been promised anything.
        batch.retain(|unit| !unit.reply.is_closed());
        match session.run(&batch).await {
            Ok(results) => {
                for (unit, rows) in batch.drain(..).zip(results) {
                    let _ = unit.reply.send(Ok(rows));
                }
            }
            // One of them may be the cause, such as a value that is too large.
            Err(Failure {
                cause: Cause::Statement,
                ..
            }) if batch.len() > 1 => {
                for unit in batch.drain(..) {
                    let rows = session.run(std::slice::from_ref(&unit)).await;
                    let rows = rows.map(|mut results| results.pop().unwrap_or_default());
                    let _ = unit.reply.send(rows.map_err(|failure| failure.error));
                }
            }
            // The changes may have been committed. The callers send them again, which changes nothing then.
            Err(failure) => {
                for unit in batch.drain(..) {
                    let _ = unit.reply.send(Err(failure.error.clone()));
                }
            }
        }
    }
}

/// A connection that is replaced when it is lost.
struct Session {
    address: Address,
    role: Role,
    connection: Option<Connection>,
    /// The last failure to connect.
    refused: Option<Refused>,
}

struct Refused {
    failure: Failure,
    /// The time of the next attempt. Until then, every unit fails at once.
    retry_at: Instant,
    delay: Duration,
}

impl Session {
    fn new(address: Address, role: Role) -> Self {
        Self {
            address,
            role,
            connection: None,
            refused: None,
        }
    }

    /// Runs `units` in one transaction. Returns the rows of each statement of each unit.
    async fn run(&mut self, units: &[Unit]) -> Result<Vec<Vec<Vec<Row>>>, Failure> {
        let mut attempt = 1;
        loop {
            match self.attempt(units).await {
                Err(failure) if failure.cause == Cause::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(failure) if failure.cause == Cause::Conflict => {
                    return Err(Failure {
                        cause: Cause::Statement,
                        ..failure
                    });
                }
                result => return result,
            }
        }
    }

    async fn attempt(&mut self, units: &[Unit]) -> Result<Vec<Vec<Vec<Row>>>, Failure> {
        if units.is_empty() {
            return Ok(Vec::new());
        }
        let role = self.role;
        let connection = self.connection().await?;
        let run = timeout(TRANSACTION, connection.transaction(role, units)).await;
        let result = run.unwrap_or_else(|_| Err(Failure::lost("PostgreSQL does not answer")));
        if result.is_ok() {
            committed(units);
        }
        if let Err(failure) = &result
            && failure.cause == Cause::Lost
        {
            tracing::warn!(error = %failure.error, "the connection to the ledger is lost");
            self.connection = None;
        }
        result
    }

    /// Returns the connection, and connects if there is none.
    async fn connection(&mut self) -> Result<&mut Connection, Failure> {
        // It may have ended while nobody used it, which is no failure yet.
        let usable = self.connection.take().filter(|connection| !connection.is_closed());
        let connection = match usable {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    async fn connect(&mut self) -> Result<Connection, Failure> {
        let delay = match &self.refused {
            Some(refused) if Instant::now() < refused.retry_at => return Err(refused.failure.clone()),
            Some(refused) => (refused.delay * 2).min(BACK_OFF.1),
            None => BACK_OFF.0,
        };
        match Connection::open(&self.address, self.role).await {
            Ok(connection) => {
                self.refused = None;
                Ok(connection)
            }
            Err(failure) => {
                self.refused = Some(Refused {
                    failure: failure.clone(),
                    retry_at: Instant::now() + delay,
                    delay,
                });
                Err(failure)
            }
        }
    }
}
