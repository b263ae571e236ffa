//! The broker that the tests share, and queues in it.

use std::{env, time::Duration};

use futures_util::StreamExt as _;
use kazoo_storage_ledger::delivery::AmqpExchange;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{BasicAckOptions, BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

const TIMEOUT: Duration = Duration::from_secs(120);

/// The URL of the broker.
pub(crate) fn url() -> String {
    variable("KAZOO_STORAGE_TEST_RABBITMQ")
}

pub(crate) fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("set {name}, as tests/system/cluster/rabbitmq.py does"))
}

/// The exchange `name` of the broker.
pub(crate) fn exchange(name: &str) -> AmqpExchange {
    AmqpExchange::new(&url()).unwrap().exchange(name).unwrap()
}

/// Kills or starts the broker, or runs `rabbitmqctl` with arguments.
pub(crate) async fn control(command: &str) {
    let address = variable("KAZOO_STORAGE_TEST_RABBITMQ_CONTROL");
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    stream.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_line(&mut answer).await.unwrap();
    assert_eq!(answer, "done\n", "{command}");
}

/// A message that arrived.
pub(crate) struct Message {
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The key of the file and its length.
    pub(crate) fn file(&self) -> (String, u64) {
        let data = &self.json()["data"];
        (data["key"].as_str().unwrap().to_owned(), data["size"].as_u64().unwrap())
    }
}

/// A consumer of a durable queue.
pub(crate) struct Queue {
    _connection: Connection,
    _channel: Channel,
    consumer: Consumer,
}

impl Queue {
    /// Declares the durable topic exchange `exchange` and a queue of its name, and binds them with `binding`.
    pub(crate) async fn bind(exchange: &str, binding: &str) -> Self {
        let (connection, channel) = open().await;
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let table = FieldTable::default;
        let declared = channel.exchange_declare(exchange.into(), ExchangeKind::Topic, durable, table());
        declared.await.unwrap();
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        channel.queue_declare(exchange.into(), durable, table()).await.unwrap();
        let options = QueueBindOptions::default();
        let bound = channel.queue_bind(exchange.into(), exchange.into(), binding.into(), options, table());
        bound.await.unwrap();
        Self::consume(connection, channel, exchange).await
    }

    /// Consumes the queue `name`.
    pub(crate) async fn open(name: &str) -> Self {
        let (connection, channel) = open().await;
        Self::consume(connection, channel, name).await
    }

    async fn consume(connection: Connection, channel: Channel, name: &str) -> Self {
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(name.into(), "test".into(), options, FieldTable::default());
        Self {
            consumer: consumer.await.unwrap(),
            _channel: channel,
            _connection: connection,
        }
    }

    /// Waits for the next message, and acknowledges it.
    pub(crate) async fn next(&mut self) -> Message {
        let delivery = timeout(TIMEOUT, self.consumer.next()).await.expect("no message");
        let delivery = delivery.unwrap().unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        Message {
            routing_key: delivery.routing_key.to_string(),
            properties: delivery.properties,
            body: delivery.data,
        }
    }

    /// Returns `true` if nothing arrives for a moment.
    pub(crate) async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.consumer.next()).await.is_err()
    }
}

/// Connects to the broker, which may have just started.
pub(crate) async fn open() -> (Connection, Channel) {
    for _ in 0..100 {
        if let Ok(connection) = Connection::connect(&url(), ConnectionProperties::default()).await {
            let channel = connection.create_channel().await.unwrap();
            return (connection, channel);
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the broker does not accept connections");
}
