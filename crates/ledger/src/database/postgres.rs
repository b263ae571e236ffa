//! PostgreSQL: a task for each purpose, with a connection of its own.

mod address;
mod connection;
mod failure;
mod schema;
mod tls;
mod value;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kazoo_storage::{Error, Result};
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep_until, timeout},
};

pub(crate) use self::address::Address;
pub(super) use self::failure::Code;
use self::{
    connection::{Connection, Role},
    failure::{Cause, Failure},
};
use super::{Database, Engine, QUEUE, Row, Threads, Unit, committed};

/// Maximum number of units in a transaction. It bounds the time until the first of them is acknowledged.
const BATCH: usize = 256;

/// Number of connections for changes. One runs a transaction while PostgreSQL makes that of the other durable.
const CHANGES: usize = 2;

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
        changes: spawn(address, Role::Write { durable }, CHANGES).await.map_err(at)?,
        claims: spawn(address, Role::Write { durable: false }, 1).await.map_err(at)?,
        reads: spawn(address, Role::Read, 1).await.map_err(at)?,
        threads: Threads::default(),
        #[cfg(test)]
        sent: std::sync::Arc::default(),
    })
}

/// Connects, and runs the units that arrive in a task for each connection.
async fn spawn(address: &Address, role: Role, connections: usize) -> Result<mpsc::Sender<Unit>, Failure> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    let connected = Arc::default();
    for _ in 0..connections {
        let mut session = Session::new(address.clone(), role, Arc::clone(&connected));
        session.connection().await?;
        tokio::spawn(serve(session, Arc::clone(&receiver)));
    }
    Ok(sender)
}

/// Runs the units that arrive, until no sender is left.
async fn serve(mut session: Session, units: Arc<Mutex<mpsc::Receiver<Unit>>>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        session.ready().await;
        let received = units.lock().await.recv_many(&mut batch, BATCH).await;
        if received == 0 {
            return;
        }
        // A caller that is gone has not been promised anything.
        batch.retain(|unit| !unit.reply.is_closed());
        batch.sort_by_key(|unit| unit.purpose);
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
    connection: Option<Counted>,
    /// The number of sessions with a connection, among those that run the same units.
    connected: Arc<AtomicUsize>,
    /// The last failure to connect.
    refused: Option<Refused>,
}

/// A connection that is counted until it is dropped.
struct Counted {
    connection: Connection,
    connected: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.connected.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Refused {
    failure: Failure,
    /// The time of the next attempt. Until then, every unit fails at once.
    retry_at: Instant,
    delay: Duration,
}

impl Session {
    fn new(address: Address, role: Role, connected: Arc<AtomicUsize>) -> Self {
        Self {
            address,
            role,
            connection: None,
            connected,
            refused: None,
        }
    }

    /// Returns when this session has a connection. If no other session has one either, it returns at once, so that units fail
    /// instead of waiting.
    async fn ready(&mut self) {
        while self.connection().await.is_err() && self.connected.load(Ordering::SeqCst) > 0 {
            let retry_at = self
                .refused
                .as_ref()
                .map_or_else(Instant::now, |refused| refused.retry_at);
            sleep_until(retry_at).await;
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
        let usable = self.connection.take().filter(|counted| !counted.connection.is_closed());
        let counted = match usable {
            Some(counted) => counted,
            None => self.connect().await?,
        };
        Ok(&mut self.connection.insert(counted).connection)
    }

    async fn connect(&mut self) -> Result<Counted, Failure> {
        let delay = match &self.refused {
            Some(refused) if Instant::now() < refused.retry_at => return Err(refused.failure.clone()),
            Some(refused) => (refused.delay * 2).min(BACK_OFF.1),
            None => BACK_OFF.0,
        };
        match Connection::open(&self.address, self.role).await {
            Ok(connection) => {
                self.refused = None;
                self.connected.fetch_add(1, Ordering::SeqCst);
                Ok(Counted {
                    connection,
                    connected: Arc::clone(&self.connected),
                })
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
