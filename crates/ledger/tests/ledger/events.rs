//! Undelivered events are listed, retried, discarded and replayed, in the order of each key.

use std::time::{Duration, SystemTime};

use kazoo_storage::{BlobCatalog as _, BlobStore as _, ErrorKind, Upload};
use kazoo_storage_ledger::{
    Consumer, EventKind,
    events::{Backlog, EventState, ReceiverKind, ReceiverState, Replay, Retried, Selection, Undelivered},
};

use super::{Site, key, metadata, upload};

/// Receives and acknowledges everything that is due. Returns key and size of each file.
async fn drain(consumer: &Consumer) -> Vec<(String, u64)> {
    let mut events = Vec::new();
    while let Some(job) = consumer.try_next().await.unwrap() {
        events.push((job.event().file.key.to_string(), job.event().file.size));
        assert!(job.ack().await.unwrap());
    }
    events
}

async fn bury_next(consumer: &Consumer) -> String {
    let job = consumer.try_next().await.unwrap().unwrap();
    let id = job.event().id.clone();
    assert!(job.bury("not audio").await.unwrap());
    id
}

async fn retry(site: &Site, selection: Selection, superseded: bool) -> Retried {
    site.ledger.retry(selection, superseded, |_| ()).await.unwrap()
}

async fn discard(site: &Site, selection: Selection) -> u64 {
    site.ledger.discard(selection, |_| ()).await.unwrap()
}

fn keys(events: &[Undelivered]) -> Vec<String> {
    events.iter().map(|event| event.event.file.key.to_string()).collect()
}

#[tokio::test]
async fn lists_pages_in_both_orders() {
    let site = Site::new().await;
    let (_first, _second) = (
        site.ledger.consumer("first").await.unwrap(),
        site.ledger.consumer("second").await.unwrap(),
    );
    let store = site.store();
    for number in 0..7 {
        store.put(upload(&format!("f{number}"), "1")).await.unwrap();
    }
    for (backlog, expected) in [
        (
            Backlog::new().receiver("first"),
            ["f6", "f5", "f4", "f3", "f2", "f1", "f0"],
        ),
        (
            Backlog::new().receiver("first").oldest_first(),
            ["f0", "f1", "f2", "f3", "f4", "f5", "f6"],
        ),
    ] {
        let (mut found, mut page) = (Vec::new(), backlog.clone());
        loop {
            let events = site.ledger.backlog(page, 3).await.unwrap();
            let Some(last) = events.last() else { break };
            page = backlog.clone().after(last.seq);
            found.extend(keys(&events));
        }
        assert_eq!(found, expected);
    }
    let all = site.ledger.backlog(Backlog::new(), 100).await.unwrap();
    assert_eq!(all.len(), 14);
    assert!(all.is_sorted_by(|one, other| one.seq > other.seq));
    let none = Backlog::new().receiver("none");
    assert!(site.ledger.backlog(none, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_by_state_account_and_time() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    for path in ["acc/d/1", "acc/d/2", "acc2/d/1", "acc/o/d/3"] {
        store.put(upload(path, "1")).await.unwrap();
    }
    let dead = bury_next(&consumer).await;
    let list = |backlog: Backlog| async { keys(&site.ledger.backlog(backlog.oldest_first(), 100).await.unwrap()) };
    let of = |state| Backlog::new().state(state);
    assert_eq!(list(of(EventState::Dead)).await, ["acc/d/1"]);
    assert_eq!(
        list(of(EventState::Waiting)).await,
        ["acc/d/2", "acc2/d/1", "acc/o/d/3"]
    );
    assert_eq!(
        list(Backlog::new().account("acc")).await,
        ["acc/d/1", "acc/d/2", "acc/o/d/3"]
    );
    assert_eq!(list(of(EventState::Dead).account("acc2")).await, [""; 0]);
    assert_eq!(list(of(EventState::Dead).account("acc")).await, ["acc/d/1"]);

    let old = SystemTime::now() - Duration::from_secs(100_000);
    let millis = old.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    site.execute(&format!("UPDATE outbox SET recorded_at = {millis} WHERE seq <= 2"));
    let hour = SystemTime::now() - Duration::from_secs(3600);
    assert_eq!(list(Backlog::new().since(hour)).await, ["acc2/d/1", "acc/o/d/3"]);
    assert_eq!(list(Backlog::new().since(old - Duration::from_secs(1))).await.len(), 4);
    assert_eq!(
        list(Backlog::new().since(SystemTime::now() + Duration::from_secs(9)))
            .await
            .len(),
        0
    );

    let event = &site.ledger.event(&dead).await.unwrap()[0];
    assert_eq!((event.state(), event.attempts), (EventState::Dead, 1));
    assert_eq!((event.error.as_deref(), event.due_at), (Some("not audio"), None));
}

#[tokio::test]
async fn shows_the_event_of_each_receiver_and_its_document() {
    let site = Site::new().await;
    let first = site.ledger.consumer("first").await.unwrap();
    let _second = site.ledger.consumer("second").await.unwrap();
    let document = metadata(r#"{"call_id":"b3f6"}"#);
    let uploaded = upload("a/b/c", "1").with_metadata(document.clone());
    site.store().put(uploaded).await.unwrap();
    let job = first.try_next().await.unwrap().unwrap();
    let id = job.event().id.clone();
    let events = site.ledger.event(&id).await.unwrap();
    let shown: Vec<_> = events
        .iter()
        .map(|event| (&*event.receiver, event.attempts, event.is_in_flight))
        .collect();
    assert_eq!(shown, [("first", 1, true), ("second", 0, false)]);
    assert_eq!((&events[0].event.file.metadata, events[0].event.file.size), (&None, 1));
    assert_eq!(site.ledger.event_metadata(&id).await.unwrap(), Some(document));
    assert!(site.ledger.event("none").await.unwrap().is_empty());
    assert_eq!(site.ledger.event_metadata("none").await.unwrap(), None);
    job.ack().await.unwrap();
    assert_eq!(site.ledger.event(&id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn retries_dead_and_delayed_events_and_none_that_is_being_sent() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    for path in ["a", "b", "c"] {
        store.put(upload(path, "1")).await.unwrap();
    }
    let dead = bury_next(&consumer).await;
    let delayed = consumer.try_next().await.unwrap().unwrap();
    let delayed_id = delayed.event().id.clone();
    delayed.retry(Duration::from_secs(3600), "it is down").await.unwrap();
    let held = consumer.try_next().await.unwrap().unwrap();
    for (id, expected) in [(&dead, 1), (&delayed_id, 1), (&held.event().id, 0)] {
        let done = retry(&site, Selection::event(id).receiver("test"), false).await;
        assert_eq!((done.selected, done.retried, done.superseded), (1, expected, 0));
    }
    let of_dead = || Selection::event(&dead);
    for selection in [
        of_dead().receiver("other"),
        of_dead().account("other"),
        Selection::event("none"),
    ] {
        assert_eq!(retry(&site, selection, false).await, Retried::default());
    }
    assert_eq!(retry(&site, Selection::event("none"), false).await.selected, 0);
    assert_eq!(drain(&consumer).await, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    assert!(held.ack().await.unwrap());
}

#[tokio::test]
async fn a_dead_event_is_not_sent_after_a_later_one_of_its_file() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    store.put(upload("a", "22")).await.unwrap();
    let dead = bury_next(&consumer).await;
    // The later event waits, so the order can be restored.
    let done = retry(&site, Selection::event(&dead), false).await;
    assert_eq!((done.retried, done.superseded), (1, 0));
    bury_next(&consumer).await;
    // The later event is being sent.
    let later = consumer.next().await.unwrap();
    assert_eq!(later.event().file.size, 2);
    let done = retry(&site, Selection::event(&dead), false).await;
    assert_eq!((done.retried, done.superseded), (0, 1));
    // It was sent.
    later.ack().await.unwrap();
    let done = retry(&site, Selection::dead(), false).await;
    assert_eq!((done.retried, done.superseded), (0, 1));
    assert!(consumer.try_next().await.unwrap().is_none());
    // Unless the operator wants it.
    let done = retry(&site, Selection::event(&dead), true).await;
    assert_eq!((done.retried, done.superseded), (1, 0));
    assert_eq!(drain(&consumer).await, [("a".to_owned(), 1)]);
}

#[tokio::test]
async fn a_file_is_not_stored_again_by_the_retry_of_an_event_before_its_deletion() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("a", "1")).await.unwrap();
    let stored = bury_next(&consumer).await;
    store.delete(&key("a")).await.unwrap();
    assert_eq!(drain(&consumer).await.len(), 1);
    let done = retry(&site, Selection::event(&stored), false).await;
    assert_eq!((done.retried, done.superseded), (0, 1));
    // A deletion is not sent after the file is back.
    store.put(upload("b", "1")).await.unwrap();
    drain(&consumer).await;
    store.delete(&key("b")).await.unwrap();
    let deleted = bury_next(&consumer).await;
    store.put(upload("b", "1")).await.unwrap();
    drain(&consumer).await;
    let done = retry(&site, Selection::event(&deleted), false).await;
    assert_eq!((done.retried, done.superseded), (0, 1));
    // While it is gone, it is.
    store.delete(&key("b")).await.unwrap();
    drain(&consumer).await;
    store.put(upload("c", "1")).await.unwrap();
    drain(&consumer).await;
    store.delete(&key("c")).await.unwrap();
    let deleted = bury_next(&consumer).await;
    let done = retry(&site, Selection::event(&deleted), false).await;
    assert_eq!((done.retried, done.superseded), (1, 0));
}

#[tokio::test]
async fn retries_all_dead_events_of_a_key_in_order() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let other = site.ledger.consumer("other").await.unwrap();
    let store = site.store();
    for number in 0..450 {
        let content = number.to_string().repeat(2);
        store
            .put(Upload::new(key(&format!("acc/d/{}", number % 150)), content))
            .await
            .unwrap();
        bury_next(&consumer).await;
    }
    store.put(upload("acc2/d/1", "1")).await.unwrap();
    bury_next(&consumer).await;
    bury_next(&other).await;
    let mut steps = 0;
    let dead = Selection::dead().receiver("test").account("acc");
    let done = site.ledger.retry(dead, false, |_| steps += 1).await.unwrap();
    assert_eq!((done.retried, done.superseded, steps), (450, 0, 3));
    let sent = drain(&consumer).await;
    assert_eq!(sent.len(), 450);
    let of_one: Vec<u64> = sent
        .iter()
        .filter(|(key, _)| key == "acc/d/5")
        .map(|(_, size)| *size)
        .collect();
    assert_eq!(of_one, [2, 6, 6]);
    let dead = Backlog::new().state(EventState::Dead);
    assert_eq!(site.ledger.backlog(dead, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn discards_one_event_or_all_dead_ones() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let other = site.ledger.consumer("other").await.unwrap();
    let store = site.store();
    for path in ["acc/d/1", "acc/d/2", "acc2/d/3", "d"] {
        store.put(upload(path, "1")).await.unwrap();
    }
    let first = bury_next(&consumer).await;
    assert_eq!(discard(&site, Selection::event(&first).receiver("test")).await, 1);
    assert_eq!(discard(&site, Selection::event(&first)).await, 1);
    assert_eq!(discard(&site, Selection::event(&first)).await, 0);
    bury_next(&consumer).await;
    bury_next(&consumer).await;
    bury_next(&other).await;
    let of = |account: &str| Selection::dead().receiver("test").account(account);
    assert_eq!(discard(&site, of("none")).await, 0);
    assert_eq!(discard(&site, of("acc2")).await, 1);
    assert_eq!(discard(&site, Selection::dead()).await, 2);
    assert_eq!(drain(&consumer).await, [("d".to_owned(), 1)]);
    assert_eq!(drain(&other).await.len(), 2);
}

#[tokio::test]
async fn replays_stored_files_with_their_event_ids() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    let mut ids = Vec::new();
    for number in 0..250 {
        let uploaded = Upload::new(key(&format!("acc/d/{number}")), "1").with_metadata(metadata(r#"{"a":1}"#));
        store.put(uploaded).await.unwrap();
        let job = consumer.try_next().await.unwrap().unwrap();
        ids.push(job.event().id.clone());
        job.ack().await.unwrap();
    }
    store.put(upload("acc2/d/1", "1")).await.unwrap();
    let dead = bury_next(&consumer).await;
    store.put(upload("acc2/d/2", "1")).await.unwrap();
    let late = site.ledger.consumer("late").await.unwrap();
    // The clock must pass the last upload.
    tokio::time::sleep(Duration::from_millis(5)).await;
    let all = Replay::since(SystemTime::UNIX_EPOCH);
    let mut steps = 0;
    let done = site
        .ledger
        .replay(all.clone().receiver("test"), |_| steps += 1)
        .await
        .unwrap();
    // The dead event is due again, and the one that waits is not queued twice.
    assert_eq!((done.files, done.queued), (252, 251));
    assert!(steps >= 2);
    let again = site.ledger.replay(all.clone().receiver("test"), |_| ()).await.unwrap();
    assert_eq!((again.files, again.queued), (252, 0));
    let mut replayed = Vec::new();
    while let Some(job) = consumer.try_next().await.unwrap() {
        assert_eq!(job.event().kind, EventKind::Stored);
        assert_eq!(
            job.event().file.metadata.is_some(),
            job.event().file.key.to_string().starts_with("acc/")
        );
        replayed.push(job.event().id.clone());
        job.ack().await.unwrap();
    }
    assert_eq!(replayed.len(), 252);
    assert!(replayed.contains(&dead) && ids.iter().all(|id| replayed.contains(id)));
    assert_eq!(drain(&late).await, []);
    // To every active receiver, one account.
    let done = site.ledger.replay(all.account("acc2"), |_| ()).await.unwrap();
    assert_eq!((done.files, done.queued), (2, 4));
    assert_eq!(drain(&late).await.len(), 2);
}

#[tokio::test]
async fn a_replay_has_bounds_and_continues_at_its_position() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    let mut times = Vec::new();
    for number in 0..3 {
        store.put(upload(&format!("f{number}"), "1")).await.unwrap();
        let job = consumer.try_next().await.unwrap().unwrap();
        times.push(job.event().file.stored_at);
        job.ack().await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let middle = Replay::since(times[1]).until(times[2]);
    let done = site.ledger.replay(middle, |_| ()).await.unwrap();
    assert_eq!((done.files, done.position), (1, times[2]));
    assert_eq!(drain(&consumer).await, [("f1".to_owned(), 1)]);
    let rest = site.ledger.replay(Replay::since(done.position), |_| ()).await.unwrap();
    assert_eq!(rest.files, 1);
    assert_eq!(drain(&consumer).await, [("f2".to_owned(), 1)]);
    let error = site
        .ledger
        .replay(Replay::since(times[0]).receiver("none"), |_| ())
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn lists_and_removes_receivers() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let _other = site.ledger.consumer("other").await.unwrap();
    let store = site.store();
    for number in 0..250 {
        store.put(upload(&format!("f{number}"), "1")).await.unwrap();
    }
    bury_next(&consumer).await;
    let oldest = site.ledger.backlog(Backlog::new().oldest_first(), 4).await.unwrap();
    let receivers = site.ledger.receivers().await.unwrap();
    let shown: Vec<_> = receivers
        .iter()
        .map(|receiver| (&*receiver.name, receiver.state, receiver.waiting, receiver.dead))
        .collect();
    let active = ReceiverState::Active;
    assert_eq!(shown, [("other", active, 250, 0), ("test", active, 249, 1)]);
    assert_eq!(receivers[0].oldest, Some(oldest[0].event.time));
    assert_eq!(receivers[0].kind(), ReceiverKind::Consumer);
    assert_eq!(
        site.ledger.receiver("test").await.unwrap().as_ref(),
        Some(&receivers[1])
    );
    assert_eq!(site.ledger.remove_receiver("test").await.unwrap(), Some(250));
    assert_eq!(site.ledger.remove_receiver("test").await.unwrap(), None);
    store.put(upload("later", "1")).await.unwrap();
    assert!(consumer.try_next().await.unwrap().is_none());
    assert_eq!(site.ledger.receivers().await.unwrap().len(), 1);
    assert_eq!(site.ledger.receiver("test").await.unwrap(), None);
}
