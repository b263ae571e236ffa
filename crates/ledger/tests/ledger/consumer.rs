//! Consumers receive every event at least once, in the order of each key.

use std::{collections::HashMap, time::Duration};

use kazoo_storage::{BlobCatalog as _, BlobStore as _, Upload};
use kazoo_storage_ledger::{
    Consumer, EventKind, Job,
    events::{Backlog, Selection},
};
use tokio::time::timeout;

use super::{Site, drain, key, metadata, upload};

/// Waits for the next job. A consumer waits forever while its ledger fails.
async fn next(consumer: &Consumer) -> Job {
    let job = timeout(Duration::from_secs(20), consumer.next()).await;
    job.expect("no event is due").unwrap()
}

#[tokio::test]
async fn receives_what_happened_in_order() {
    use EventKind::{Deleted, Replaced, Stored};
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    for (content, document) in [("1", "{}"), ("1", "{}"), ("2", "{}"), ("2", r#"{"a":1}"#), ("1", "{}")] {
        store
            .put(upload("a/b", content).with_metadata(metadata(document)))
            .await
            .unwrap();
    }
    store.delete(&key("a/b")).await.unwrap();
    store.delete(&key("a/b")).await.unwrap();
    store.put(upload("a/b", "1")).await.unwrap();
    let kinds: Vec<EventKind> = drain(&consumer).await.into_iter().map(|(_, kind)| kind).collect();
    // The second upload is the first one again, and the second deletion finds nothing.
    assert_eq!(kinds, [Stored, Replaced, Replaced, Replaced, Deleted, Stored]);
}

#[tokio::test]
async fn an_event_has_the_file_of_its_time() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    let document = metadata(r#"{"call_id":"b3f6", "x": 1.50}"#);
    store
        .put(upload("a/b", "old").with_metadata(document.clone()))
        .await
        .unwrap();
    store.put(upload("a/b", "newer")).await.unwrap();
    store.delete(&key("a/b")).await.unwrap();
    let mut files = Vec::new();
    for _ in 0..3 {
        let job = next(&consumer).await;
        files.push(job.event().file.clone());
        job.ack().await.unwrap();
    }
    assert_eq!(files.iter().map(|file| file.size).collect::<Vec<_>>(), [3, 5, 5]);
    assert_eq!(files[0].metadata, Some(document));
    assert_eq!(files[0].call_id.as_deref(), Some("b3f6"));
    assert_eq!(files[1].metadata, None);
    assert_eq!(files[1].sha256, files[2].sha256);
}

#[tokio::test]
async fn a_long_queue_of_one_key_hides_no_other_event() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    for round in 0..600 {
        store.put(upload("hot", ["1", "2"][round % 2])).await.unwrap();
    }
    store.put(upload("other", "1")).await.unwrap();
    let head = consumer.try_next().await.unwrap().unwrap();
    assert_eq!(head.event().file.key, key("hot"));
    let other = consumer.try_next().await.unwrap().unwrap();
    assert_eq!(other.event().file.key, key("other"));
    assert!(consumer.try_next().await.unwrap().is_none());
    assert!(other.ack().await.unwrap());

    // The next one is due as soon as the one before it is settled, in whichever way.
    assert!(head.ack().await.unwrap());
    let second = consumer.try_next().await.unwrap().unwrap();
    assert!(second.bury("never mind").await.unwrap());
    let third = consumer.try_next().await.unwrap().unwrap();
    assert!(third.retry(Duration::from_secs(3600), "later").await.unwrap());
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn an_event_does_not_wait_for_one_that_is_discarded() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    store.put(upload("a", "2")).await.unwrap();
    let first = consumer.try_next().await.unwrap().unwrap();
    let id = first.event().id.clone();
    assert!(first.retry(Duration::from_secs(3600), "later").await.unwrap());
    assert!(consumer.try_next().await.unwrap().is_none());
    for (receiver, removed) in [("other", 0), ("test", 1)] {
        let selection = Selection::event(&id).receiver(receiver);
        assert_eq!(site.ledger.discard(selection, |_| ()).await.unwrap(), removed);
    }
    assert_eq!(drain(&consumer).await.len(), 1);
}

#[tokio::test]
async fn a_later_event_of_a_key_waits_for_the_earlier_one() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    store.put(upload("a", "2")).await.unwrap();
    store.put(upload("b", "1")).await.unwrap();
    let first = next(&consumer).await;
    let other = next(&consumer).await;
    assert_eq!(
        (&first.event().file.key, &other.event().file.key),
        (&key("a"), &key("b"))
    );
    assert!(consumer.try_next().await.unwrap().is_none());
    first.ack().await.unwrap();
    let second = next(&consumer).await;
    assert_eq!(
        (second.event().file.size, second.event().kind),
        (1, EventKind::Replaced)
    );
}

#[tokio::test]
async fn an_unacknowledged_job_comes_back_after_a_restart() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap().visibility(Duration::ZERO);
    site.store().put(upload("a", "1")).await.unwrap();
    let lost = next(&consumer).await;
    let id = lost.event().id.clone();
    assert_eq!(lost.attempts(), 1);
    // As in a crash, nothing is acknowledged.
    drop(consumer);
    let ledger = site.open_again().await;
    let consumer = ledger.consumer("test").await.unwrap();
    let again = next(&consumer).await;
    assert_eq!((&again.event().id, again.attempts()), (&id, 2));
    // The first claim has ended, so it cannot acknowledge the event of the second.
    assert!(!lost.ack().await.unwrap());
    assert!(again.ack().await.unwrap());
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn retries_and_buries() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    store.put(upload("a", "2")).await.unwrap();
    let job = next(&consumer).await;
    job.retry(Duration::ZERO, "the recogniser is down").await.unwrap();
    let job = next(&consumer).await;
    assert_eq!((job.attempts(), job.event().kind), (2, EventKind::Stored));
    job.bury("not audio").await.unwrap();
    // A dead event does not block the next one.
    assert_eq!(drain(&consumer).await, [("a".to_owned(), EventKind::Replaced)]);
}

#[tokio::test]
async fn each_consumer_has_its_own_events_and_a_late_one_only_later_events() {
    let site = Site::new().await;
    let early = site.ledger.consumer("early").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    let late = site.ledger.consumer("late").await.unwrap();
    store.put(upload("b", "1")).await.unwrap();
    assert_eq!(drain(&early).await.len(), 2);
    assert_eq!(drain(&late).await, [("b".to_owned(), EventKind::Stored)]);
}

#[tokio::test]
async fn wakes_a_waiting_consumer() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let waiting = tokio::spawn(async move { next(&consumer).await.event().file.size });
    tokio::task::yield_now().await;
    site.store().put(upload("a", "123")).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 3);
}

/// Two processes take from one queue: together they receive each event once, while both run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_of_one_name_share_the_events() {
    let site = Site::new().await;
    let first = site.ledger.consumer("test").await.unwrap();
    let other = site.open_again().await;
    let second = other.consumer("test").await.unwrap();
    let store = site.store();
    for number in 0..100 {
        store
            .put(Upload::new(key(&format!("{}", number % 10)), number.to_string()))
            .await
            .unwrap();
    }
    let take = |consumer: Consumer| {
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(job) = consumer.try_next().await.unwrap() {
                seen.push((job.event().file.key.clone(), job.event().id.clone()));
                job.ack().await.unwrap();
            }
            seen
        })
    };
    let (first, second) = (take(first), take(second));
    let mut counts: HashMap<String, usize> = HashMap::new();
    for (_, id) in first.await.unwrap().into_iter().chain(second.await.unwrap()) {
        *counts.entry(id).or_default() += 1;
    }
    // One of them may have found nothing due while the other held the first event of each key.
    let rest = site.ledger.consumer("test").await.unwrap();
    while let Some(job) = rest.try_next().await.unwrap() {
        *counts.entry(job.event().id.clone()).or_default() += 1;
        job.ack().await.unwrap();
    }
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test]
async fn close_ends_a_waiting_consumer_and_keeps_its_events() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let waiting = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.next().await.is_none() }
    });
    tokio::task::yield_now().await;
    site.ledger.close();
    assert!(waiting.await.unwrap());
    site.store().put(upload("a", "1")).await.unwrap();
    assert!(consumer.next().await.is_none());
    assert_eq!(drain(&consumer).await.len(), 1);
}

#[tokio::test]
async fn a_damaged_event_is_dead_and_does_not_hold_back_the_others() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    for (path, content) in [("a", "1"), ("b", "1"), ("a", "22"), ("a", "333")] {
        store.put(upload(path, content)).await.unwrap();
    }
    site.execute("UPDATE outbox SET event_kind = 'unknown' WHERE key = 'a' AND size < 3");
    let rest = [
        ("a".to_owned(), EventKind::Replaced),
        ("b".to_owned(), EventKind::Stored),
    ];
    // Events of different keys have no order.
    let mut drained = drain(&consumer).await;
    drained.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(drained, rest);
    let receiver = site.ledger.receiver("test").await.unwrap().unwrap();
    assert_eq!((receiver.waiting, receiver.dead), (0, 2));

    // Somebody repairs them.
    site.execute("UPDATE outbox SET event_kind = 'file.stored'");
    for event in site.ledger.backlog(Backlog::new(), 10).await.unwrap() {
        let error = event.error.unwrap();
        assert!(error.contains("unknown kind"), "{error}");
    }
}

#[tokio::test]
async fn an_event_whose_text_is_damaged_is_dead_and_does_not_hold_back_the_others() {
    for (column, value) in [
        ("key", "''"),
        ("key", "CAST(x'ff' AS TEXT)"),
        ("metadata", "'{'"),
        ("call_id", "CAST(x'ff' AS TEXT)"),
    ] {
        let site = Site::sqlite().await;
        let consumer = site.ledger.consumer("test").await.unwrap();
        let store = site.store();
        store.put(upload("a", "1")).await.unwrap();
        store.put(upload("a", "22")).await.unwrap();
        site.execute(&format!("UPDATE outbox SET {column} = {value} WHERE size = 1"));
        assert_eq!(
            drain(&consumer).await,
            [("a".to_owned(), EventKind::Replaced)],
            "{column} = {value}"
        );
        assert_eq!(site.ledger.receiver("test").await.unwrap().unwrap().dead, 1);
    }
}
