//! What arrives at a queue.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use kazoo_storage::{BlobCatalog as _, BlobKey};
use kazoo_storage_ledger::delivery::{AmqpExchange, Receiver};
use tokio::time::sleep;

use super::{
    Site,
    broker::{Queue, control, exchange, url, variable},
};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn publishes_persistent_cloud_events() {
    let site = Site::new().await;
    let mut queue = Queue::bind("properties", "#").await;
    let running = site
        .deliver([Receiver::from(exchange("properties")).metadata(true)])
        .await;
    let path = format!("{ACCOUNT}/202401-{ACCOUNT}/a.mp3");
    let document = r#"{"source_type":"voicemail","call_id":"b3f6"}"#;
    site.put_with(&path, "ID3", document).await;
    let message = queue.next().await;
    assert_eq!(message.routing_key, format!("kazoo_storage.file.stored.{ACCOUNT}"));
    let (properties, event) = (&message.properties, message.json());
    assert_eq!(properties.delivery_mode(), &Some(2));
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().unwrap().to_string();
    assert_eq!(text(properties.content_type()), "application/cloudevents+json");
    assert_eq!(text(properties.kind()), "kazoo_storage.file.stored");
    assert_eq!(text(properties.app_id()), "kazoo-storage");
    assert_eq!(text(properties.message_id()), event["id"]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert!(now.as_secs() - properties.timestamp().unwrap() < 60);
    assert_eq!(
        (&event["specversion"], &event["type"]),
        (&"1.0".into(), &"kazoo_storage.file.stored".into())
    );
    assert_eq!(
        (&event["data"]["kind"], &event["data"]["call_id"]),
        (&"voicemail".into(), &"b3f6".into())
    );

    site.put("greeting", "1").await;
    assert_eq!(queue.next().await.routing_key, "kazoo_storage.file.stored.-");
    site.put(&format!("{ACCOUNT}/202401-{ACCOUNT}/a.mp3"), "ID3 2").await;
    let message = queue.next().await;
    assert_eq!(message.routing_key, format!("kazoo_storage.file.replaced.{ACCOUNT}"));
    site.store
        .delete(&BlobKey::from_path("greeting").unwrap())
        .await
        .unwrap();
    assert_eq!(queue.next().await.routing_key, "kazoo_storage.file.deleted.-");
    running.stop().await;
    assert!(site.outbox().is_empty() && queue.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn delivers_every_event_in_order_although_the_broker_is_killed() {
    let site = Site::new().await;
    // Durable, with what it has confirmed.
    drop(Queue::bind("killed", "#").await);
    let running = site.deliver([Receiver::from(exchange("killed")).in_flight(8)]).await;
    let contents = ["1", "22", "333", "4444", "55555"];
    for (round, content) in contents.into_iter().enumerate() {
        for key in 0..40 {
            site.put(&format!("key{key}"), content).await;
        }
        if round % 2 == 1 {
            control("kill").await;
            sleep(Duration::from_secs(1)).await;
            control("start").await;
        }
    }
    let mut queue = Queue::open("killed").await;
    let mut sizes: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    while sizes.len() < 40 || sizes.values().any(|sizes| sizes.last() != Some(&5)) {
        let (key, len) = queue.next().await.file();
        sizes.entry(key).or_default().push(len);
    }
    running.stop().await;
    assert!(site.outbox().is_empty());
    for (key, mut sizes) in sizes {
        // A repeat follows its event: the next one waits for the confirmation.
        sizes.dedup();
        assert_eq!(sizes, [1, 2, 3, 4, 5], "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn verifies_the_certificate_of_the_broker() {
    let site = Site::new().await;
    let mut queue = Queue::bind("encrypted", "#").await;
    let url = url().replace("amqp://", "amqps://");
    let (base, _) = url.rsplit_once(':').unwrap();
    let url = format!("{base}:{}", variable("KAZOO_STORAGE_TEST_RABBITMQ_TLS"));
    let encrypted = AmqpExchange::new(&url).unwrap().exchange("encrypted").unwrap();
    let running = site.deliver([encrypted.clone().into()]).await;
    site.put("a", "1").await;
    let error = site.error().await;
    assert!(error.contains("certificate"), "{error}");
    running.stop().await;
    let authority = std::fs::read(variable("KAZOO_STORAGE_TEST_RABBITMQ_CA")).unwrap();
    let trusted = encrypted.authorities(&authority).unwrap();
    let running = site.deliver([trusted.into()]).await;
    assert_eq!(queue.next().await.file(), ("a".to_owned(), 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ: see tests/system/cluster/rabbitmq.py"]
async fn a_user_who_may_only_write_needs_an_exchange() {
    let site = Site::new().await;
    control("add_user writer hunter2").await;
    control("set_permissions writer ^$ .* ^$").await;
    let url = url();
    let (_, host) = url.rsplit_once('@').unwrap();
    let writer = AmqpExchange::new(&format!("amqp://writer:hunter2@{host}")).unwrap();
    let writer = writer.exchange("written").unwrap();
    let running = site.deliver([writer.into()]).await;
    site.put("a", "1").await;
    let error = site.error().await;
    assert!(error.contains("no exchange 'written'"), "{error}");
    let mut queue = Queue::bind("written", "#").await;
    assert_eq!(queue.next().await.file(), ("a".to_owned(), 1));
    running.stop().await;
}
