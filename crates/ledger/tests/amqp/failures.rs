//! Brokers that refuse, hang and are not there.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kazoo_storage_ledger::delivery::{AmqpExchange, Receiver};
use lapin::{ExchangeKind, options::ExchangeDeclareOptions, types::FieldTable};
use tokio::{io::AsyncReadExt as _, net::TcpListener, time::sleep};

use super::{
    Site,
    broker::{self, Queue, control, exchange, url},
};

#[tokio::test]
async fn keeps_the_events_of_a_broker_that_is_down() {
    let site = Site::new().await;
    let down = AmqpExchange::new("amqp://kazoo:hunter2@127.0.0.1:1").unwrap();
    let running = site.deliver([down.into()]).await;
    for number in 0..50 {
        site.put(&number.to_string(), "1").await;
    }
    let error = site.error().await;
    assert!(
        error.starts_with("cannot connect to 127.0.0.1:1: Connection refused"),
        "{error}"
    );
    running.stop().await;
    assert_eq!(site.outbox().len(), 50);
}

#[tokio::test]
async fn closes_the_connection_to_a_broker_that_does_not_answer() {
    let site = Site::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://{}", listener.local_addr().unwrap());
    let silent = Receiver::from(AmqpExchange::new(&url).unwrap()).timeout(Duration::from_millis(300));
    let running = site.deliver([silent]).await;
    site.put("a", "1").await;
    let (mut stream, _) = listener.accept().await.unwrap();
    let begin = Instant::now();
    let mut greeting = Vec::new();
    // Ends when the client closes the connection.
    stream.read_to_end(&mut greeting).await.unwrap();
    assert_eq!(greeting, b"AMQP\x00\x00\x09\x01");
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert_eq!(site.error().await, "no answer within 300ms");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn keeps_an_event_until_a_queue_is_bound() {
    let site = Site::new().await;
    let running = site.deliver([exchange("unbound").into()]).await;
    site.put("a", "1").await;
    site.put("a", "22").await;
    assert_eq!(
        site.error().await,
        "no queue is bound to the exchange `unbound` for the routing key `kazoo_storage.file.stored.-`"
    );
    // Another binding does not suffice.
    let mut queue = Queue::bind("unbound", "kazoo_storage.file.stored.*").await;
    assert_eq!(queue.next().await.file(), ("a".to_owned(), 1));
    running.stop().await;
    assert_eq!(site.outbox().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn keeps_exactly_the_events_that_no_queue_gets() {
    let site = Site::new().await;
    let mut queue = Queue::bind("mixed", "kazoo_storage.file.stored.*").await;
    let running = site.deliver([exchange("mixed").into()]).await;
    // Stored events are routed, and replaced ones are not.
    for content in ["1", "22"] {
        for key in 0..100 {
            site.put(&format!("key{key}"), content).await;
        }
    }
    for key in 100..200 {
        site.put(&format!("key{key}"), "1").await;
    }
    let mut keys = BTreeSet::new();
    while keys.len() < 200 {
        let (key, len) = queue.next().await.file();
        assert_eq!(len, 1);
        keys.insert(key);
    }
    running.stop().await;
    let kept = site.outbox();
    assert_eq!(kept.len(), 100);
    for (_, error) in kept {
        let error = error.unwrap_or_default();
        assert!(
            ["", "not sent yet"].contains(&&*error) || error.contains("file.replaced"),
            "{error}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn explains_why_the_broker_refuses() {
    let (_connection, channel) = broker::open().await;
    let direct = channel.exchange_declare(
        "direct".into(),
        ExchangeKind::Direct,
        ExchangeDeclareOptions::default(),
        FieldTable::default(),
    );
    direct.await.unwrap();
    let url = url();
    let (user, host) = url.rsplit_once('@').unwrap();
    for (receiver, expected) in [
        (
            AmqpExchange::new(&format!("amqp://kazoo:hunter2@{host}")).unwrap(),
            "refuses the connection: ACCESS_REFUSED - Login was refused",
        ),
        (
            AmqpExchange::new(&format!("{user}@{host}/absent")).unwrap(),
            "refuses the connection: NOT_ALLOWED - vhost absent not found",
        ),
        (
            exchange("direct"),
            "the exchange `direct` cannot be used: PRECONDITION_FAILED - inequivalent arg 'type'",
        ),
    ] {
        let site = Site::new().await;
        let running = site.deliver([receiver.into()]).await;
        site.put("a", "1").await;
        let error = site.error().await;
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        running.stop().await;
        assert_eq!(site.outbox().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn waits_for_a_broker_without_memory() {
    let site = Site::new().await;
    let mut queue = Queue::bind("blocked", "#").await;
    let timeout = Duration::from_secs(1);
    let running = site
        .deliver([Receiver::from(exchange("blocked")).timeout(timeout)])
        .await;
    // The connection is open before it is blocked.
    site.put("a", "1").await;
    assert_eq!(queue.next().await.file(), ("a".to_owned(), 1));
    control("set_vm_memory_high_watermark 0").await;
    site.put("a", "22").await;
    let error = site.error().await;
    assert_eq!(
        error,
        "the broker accepts no events at present: it lacks memory or disk space"
    );
    let begin = Instant::now();
    site.put("b", "1").await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    control("set_vm_memory_high_watermark 0.4").await;
    // A repeat is possible: the broker may have read it before it was blocked.
    let mut files = Vec::new();
    while files.len() < 2 {
        let file = queue.next().await.file();
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files.sort();
    assert_eq!(files, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
    // The event of a repeat waits for its time.
    while !site.outbox().is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    running.stop().await;
}
