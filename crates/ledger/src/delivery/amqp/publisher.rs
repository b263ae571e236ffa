//! [`Publisher`]: publishes events to an exchange.

use std::{sync::Arc, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    connection::{Connection, Reply},
    exchange::AmqpExchange,
    socket::tls,
};
use crate::{
    delivery::{answer::Answer, receiver::Receiver, resolver::Resolver},
    event::Event,
};

/// Time limit for the end of a connection.
const CLOSE: Duration = Duration::from_secs(1);

/// Publishes events to one exchange. It connects when there is an event, and again after a failure.
pub(in crate::delivery) struct Publisher {
    exchange: AmqpExchange,
    name: String,
    timeout: Duration,
    tls: Option<TlsConnector>,
    resolver: Resolver,
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    /// The last failure to connect, and its time.
    failure: Option<(Instant, String)>,
}

impl Publisher {
    pub(in crate::delivery) fn new(exchange: &AmqpExchange, receiver: &Receiver) -> Result<Self> {
        let tls = exchange.tls.then(|| tls(exchange)).transpose().map_err(|error| {
            let message = format!("the exchange {} cannot use TLS: {error}", receiver.name);
            Error::new(ErrorKind::InvalidRequest, message)
        })?;
        Ok(Self {
            exchange: exchange.clone(),
            name: receiver.name.clone(),
            timeout: receiver.timeout,
            tls,
            resolver: Resolver::new(),
            slot: Mutex::default(),
        })
    }

    /// Publishes `event`, whose `CloudEvent` is `body`, and waits until the broker has it.
    pub(in crate::delivery) async fn send(&self, event: &Event, body: &[u8]) -> Answer {
        let deadline = Instant::now() + self.timeout;
        let connection = match timeout_at(deadline, self.connection()).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return Answer::failed(error),
            Err(_elapsed) => return Answer::timed_out(self.timeout),
        };
        match timeout_at(deadline, connection.publish(&self.exchange, event, body)).await {
            Ok(Ok(Reply::Accepted)) => Answer::Delivered,
            Ok(Ok(Reply::Unroutable(key))) => {
                let exchange = &self.exchange.exchange;
                Answer::Rejected {
                    error: format!("no queue is bound to the exchange `{exchange}` for the routing key `{key}`"),
                }
            }
            Ok(Ok(Reply::Refused)) => Answer::failed("the broker refused the event: a queue is full or has failed"),
            Ok(Err(error)) => {
                connection.abort();
                Answer::failed(error)
            }
            Err(_elapsed) => {
                let is_blocked = connection.is_blocked();
                // What was published may still be in its buffers.
                connection.abort();
                if is_blocked {
                    Answer::failed("the broker accepts no events at present: it lacks memory or disk space")
                } else {
                    Answer::timed_out(self.timeout)
                }
            }
        }
    }

    /// Ends the connection.
    pub(in crate::delivery) async fn close(&self) {
        if let Some(connection) = self.slot.lock().await.connection.take() {
            let _ = timeout(CLOSE, connection.close()).await;
            connection.abort();
        }
    }

    /// Returns the open connection, or a new one. If it fails, all calls that have waited for it get the same error.
    async fn connection(&self) -> Result<Arc<Connection>, String> {
        let begin = Instant::now();
        let mut slot = self.slot.lock().await;
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((_, error)) = slot.failure.as_ref().filter(|(time, _)| *time > begin) {
            return Err(error.clone());
        }
        slot.connection = None;
        match Connection::open(&self.exchange, &self.name, self.tls.as_ref(), &self.resolver).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                slot.failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }
}
