//! [`Connection`]: one connection, its prepared statements, and its transactions.

use std::{borrow::Cow, collections::HashMap, future::poll_fn, pin::Pin, task::Poll};

use futures_util::future::{BoxFuture, FutureExt as _, MaybeDone, maybe_done};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
    time::timeout,
};
use tokio_postgres::{Client, NoTls, Socket, types::ToSql};

use super::{
    address::{Address, CONNECT, Transport},
    failure::Failure,
    schema,
    tls::Tls,
};
use crate::database::{Row, Statement, Unit, Value, by_unit, in_order};

/// Maximum number of prepared statements. Searches have many different texts.
const PREPARED: usize = 128;

/// The use of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Read,
    Write { durable: bool },
}

impl Role {
    fn begin(self) -> &'static str {
        match self {
            Self::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Self::Write { .. } => "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        }
    }
}

/// Each statement that writes finds its rows in an index, in its order. The planner does not know it before it has seen
/// the tables at their size.
const ONLY_INDEXES: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off";

const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

const NOT_DURABLE: &str = "SET synchronous_commit = off";

/// Ends the connection when it is dropped, even if its other end is gone.
pub(super) struct Connection {
    client: Client,
    prepared: HashMap<Cow<'static, str>, tokio_postgres::Statement>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to a ledger whose schema this program knows.
    pub(super) async fn open(address: &Address, role: Role) -> Result<Self, Failure> {
        let connect = async {
            let connection = Self::connect(address).await?;
            if let Role::Write { durable } = role {
                let commit = if durable { DURABLE } else { NOT_DURABLE };
                connection.client.batch_execute(ONLY_INDEXES).await?;
                connection.client.batch_execute(commit).await?;
            }
            schema::check(&connection.client).await?;
            Ok(connection)
        };
        within(address, connect).await
    }

    /// Connects to a database whose schema is unknown.
    pub(super) async fn open_any(address: &Address) -> Result<Self, Failure> {
        within(address, Self::connect(address)).await
    }

    async fn connect(address: &Address) -> Result<Self, Failure> {
        // A server that disappears leaves no lock behind, and none is awaited for long.
        const SETTINGS: &str = "SET search_path = kazoo_storage; SET jit = off; SET statement_timeout = '10s'; \
            SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '10s'";
        let config = address.config();
        let (client, driver) = match address.transport() {
            Transport::Plain => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, drive(connection))
            }
            Transport::Tls(authorities) => {
                let (client, connection) = config.connect(Tls::new(authorities.as_deref())?).await?;
                (client, drive(connection))
            }
        };
        let connection = Self {
            client,
            prepared: HashMap::new(),
            driver,
        };
        connection.client.batch_execute(SETTINGS).await?;
        Ok(connection)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Runs `units` in one transaction. Returns the rows of each statement of each unit.
    ///
    /// Everything is sent at once, so that a transaction takes one round trip.
    pub(super) async fn transaction(&mut self, role: Role, units: &[Unit]) -> Result<Vec<Vec<Vec<Row>>>, Failure> {
        if self.prepared.len() > PREPARED {
            self.prepared.clear();
        }
        for statement in in_order(units) {
            if !self.prepared.contains_key(&statement.sql.text) {
                let prepared = self.client.prepare(&statement.sql).await?;
                self.prepared.insert(statement.sql.text.clone(), prepared);
            }
        }
        let mut begin = vec![maybe_done(self.command(role.begin()))];
        let mut queries: Vec<_> = in_order(units)
            .map(|statement| maybe_done(self.query(statement).boxed()))
            .collect();
        start(&mut begin).await;
        start(&mut queries).await;
        // A statement that could not be sent must not leave a part of its unit behind. If PostgreSQL has refused one, a
        // commit rolls back.
        let refused = queries
            .iter_mut()
            .any(|query| Pin::new(query).output_mut().is_some_and(|result| result.is_err()));
        let mut end = vec![maybe_done(self.command(if refused { "ROLLBACK" } else { "COMMIT" }))];
        start(&mut end).await;

        finish(begin).await?;
        let rows = finish(queries).await?;
        finish(end).await?;
        Ok(by_unit(units, rows))
    }

    fn command(&self, sql: &'static str) -> BoxFuture<'_, Result<(), Failure>> {
        async move { Ok(self.client.batch_execute(sql).await?) }.boxed()
    }

    async fn query(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let prepared = self.prepared.get(&statement.sql.text);
        let prepared = prepared.ok_or_else(|| Failure::lost("a statement of the ledger was not prepared"))?;
        let parameters: Vec<&(dyn ToSql + Sync)> = statement.parameters.iter().map(|value| value as _).collect();
        let rows = self.client.query(prepared, &parameters).await?;
        rows.iter()
            .map(|row| {
                let values: Result<Vec<Value>, _> = (0..row.len()).map(|column| row.try_get(column)).collect();
                Ok(Row::new(values?))
            })
            .collect()
    }
}

/// Polls each of `futures` once, in order. A request is sent when its future is first polled.
async fn start<F: Future + Unpin>(futures: &mut [MaybeDone<F>]) {
    poll_fn(|cx| {
        for future in &mut *futures {
            let _ = Pin::new(future).poll(cx);
        }
        Poll::Ready(())
    })
    .await;
}

/// Returns the results of `futures`, or the first failure. The responses arrive in order.
async fn finish<T, F>(futures: Vec<MaybeDone<F>>) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>> + Unpin,
{
    let mut results = Vec::with_capacity(futures.len());
    for mut future in futures {
        (&mut future).await;
        if let Some(result) = Pin::new(&mut future).take_output() {
            results.push(result?);
        }
    }
    Ok(results)
}

async fn within<T>(address: &Address, connect: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let limit = CONNECT * u32::try_from(address.config().get_hosts().len()).unwrap_or(1).max(1);
    let connected = timeout(limit, connect).await;
    connected.unwrap_or_else(|_| Err(Failure::lost("PostgreSQL does not answer")))
}

fn drive<T>(connection: tokio_postgres::Connection<Socket, T>) -> AbortHandle
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Its error reaches each request that it fails.
    tokio::spawn(async move { drop(connection.await) }).abort_handle()
}
