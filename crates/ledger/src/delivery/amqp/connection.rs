//! [`Connection`]: a connection to a broker, and its channels.

use std::{
    error::Error as _,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_rs::{Runtime, Tokio, util::RuntimeParts};
use lapin::{
    AsyncTcpStream, BasicProperties, Channel, Confirmation, ConnectionProperties, Error, ErrorKind, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::FieldTable,
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo},
};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

use super::{
    exchange::AmqpExchange,
    routing_key::routing_key,
    socket::{Socket, Sockets},
};
use crate::{
    delivery::{cloud_event, resolver::Resolver},
    event::Event,
};

/// Maximum length of a frame, in bytes. `lapin` has two buffers of 32 frames.
const MAX_FRAME: u32 = 16 << 10;

/// The delivery mode of messages that a broker writes to disk.
const PERSISTENT: u8 = 2;

/// The reply code for success in AMQP.
const OK: u16 = 200;

/// A connection, with channels that confirm messages.
pub(super) struct Connection {
    /// Closes the socket when it is dropped.
    closer: Mutex<Option<oneshot::Sender<()>>>,
    inner: lapin::Connection,
    /// The channels without a message in flight. A channel has one at most: `lapin` gives the message that a broker returns
    /// to whichever confirmation is next on the channel.
    idle: Mutex<Vec<Channel>>,
}

/// The answer of a broker to a message.
pub(super) enum Reply {
    Accepted,
    /// The message has the routing key, but no queue is bound with a key that matches.
    Unroutable(String),
    Refused,
}

impl Connection {
    /// Connects, and declares the exchange.
    pub(super) async fn open(
        exchange: &AmqpExchange,
        name: &str,
        tls: Option<&TlsConnector>,
        resolver: &Resolver,
    ) -> Result<Self, String> {
        let at = format!("{}:{}", exchange.host, exchange.port);
        let (socket, closer) = Socket::connect(exchange, tls, resolver)
            .await
            .map_err(|error| format!("cannot connect to {at}: {}", chain(&error)))?;
        let connection = handshake(exchange, name, socket)
            .await
            .map_err(|error| format!("{at} refuses the connection: {}", describe(&error)))?;
        let channel = declare(&connection, exchange).await.map_err(|error| {
            format!(
                "the exchange `{}` cannot be used: {}",
                exchange.exchange,
                describe(&error)
            )
        })?;
        Ok(Self {
            closer: Mutex::new(Some(closer)),
            inner: connection,
            idle: Mutex::new(vec![channel]),
        })
    }

    /// Publishes `event`, whose `CloudEvent` is `body`, and waits for the broker.
    pub(super) async fn publish(&self, exchange: &AmqpExchange, event: &Event, body: &[u8]) -> Result<Reply, String> {
        let since = event.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let properties = BasicProperties::default()
            .with_app_id("kazoo-storage".into())
            .with_content_type(cloud_event::CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id((*event.id).into())
            .with_timestamp(since.as_secs())
            .with_type(cloud_event::kind(event).into());
        let key = routing_key(event);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let publish = async {
            let channel = self.channel().await?;
            let published =
                channel.basic_publish((*exchange.exchange).into(), (*key).into(), options, body, properties);
            let confirmation = published.await?.await?;
            lock(&self.idle).push(channel);
            Ok(confirmation)
        };
        match publish.await.map_err(|error| describe(&error))? {
            Confirmation::Ack(None) => Ok(Reply::Accepted),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Ok(Reply::Unroutable(key)),
            Confirmation::Nack(None) => Ok(Reply::Refused),
            Confirmation::NotRequested => Err("the channel does not confirm messages".to_owned()),
        }
    }

    async fn channel(&self) -> Result<Channel, Error> {
        let idle = lock(&self.idle).pop();
        match idle {
            Some(channel) => Ok(channel),
            None => open_channel(&self.inner).await,
        }
    }

    /// Returns `true` if events can be published.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.closer).is_some() && self.inner.status().connected()
    }

    /// Returns `true` if the broker accepts no messages at present.
    pub(super) fn is_blocked(&self) -> bool {
        self.inner.status().blocked()
    }

    /// Closes the socket. Calls that wait for the broker fail.
    pub(super) fn abort(&self) {
        lock(&self.closer).take();
    }

    /// Closes the connection, and waits for the broker.
    pub(super) async fn close(&self) {
        // It is closed anyway.
        let _ = self.inner.close(OK, "OK".into()).await;
    }
}

async fn handshake(exchange: &AmqpExchange, name: &str, socket: Socket) -> Result<lapin::Connection, Error> {
    let uri = AMQPUri {
        scheme: if exchange.tls {
            AMQPScheme::AMQPS
        } else {
            AMQPScheme::AMQP
        },
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo {
                username: exchange.user.clone(),
                password: exchange.password.clone(),
            },
            host: exchange.host.clone(),
            port: exchange.port,
        },
        vhost: exchange.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(MAX_FRAME),
            heartbeat: Some(exchange.heartbeat),
            ..AMQPQueryString::default()
        },
    };
    let properties = ConnectionProperties::default()
        .with_client_property("product".into(), "kazoo-storage".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
        .with_connection_name(format!("kazoo-storage {name}").into());
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), Sockets(tokio)));
    // Called once, because the connection does not recover by itself.
    let socket = Mutex::new(Some(socket));
    let connect = async move |_, _| {
        let socket = lock(&socket).take();
        let socket = socket.ok_or(io::ErrorKind::NotConnected);
        Ok(AsyncTcpStream::Plain(socket.map_err(io::Error::from)?))
    };
    lapin::Connection::connector(uri, runtime, connect, properties).await
}

/// Opens a channel with publisher confirms, and declares the exchange.
async fn declare(connection: &lapin::Connection, exchange: &AmqpExchange) -> Result<Channel, Error> {
    let declared = channel_with(connection, exchange, false).await;
    match declared {
        // The user may publish to the exchange, but not configure it. Then another has declared it.
        Err(error) if is_access_refused(&error) => channel_with(connection, exchange, true).await,
        declared => declared,
    }
}

/// Opens a channel, and declares the exchange. With `passive`, it must exist, and may have any type.
async fn channel_with(
    connection: &lapin::Connection,
    exchange: &AmqpExchange,
    passive: bool,
) -> Result<Channel, Error> {
    let channel = open_channel(connection).await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        passive,
        ..ExchangeDeclareOptions::default()
    };
    let name = (*exchange.exchange).into();
    channel
        .exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default())
        .await?;
    Ok(channel)
}

async fn open_channel(connection: &lapin::Connection) -> Result<Channel, Error> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

fn is_access_refused(error: &Error) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return false;
    };
    *error.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
}

/// Returns the message of `error`: that of the broker, if the broker has sent it. It contains no password.
fn describe(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => chain(error),
        ErrorKind::ParsingError(_) => "its answer is not AMQP 0-9-1; check the address and the port".to_owned(),
        _ => error.to_string(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn chain(error: &io::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        cause = error.source();
    }
    text
}
