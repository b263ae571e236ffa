//! Receivers that refuse, hang and disappear.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use http::{HeaderValue, header};
use kazoo_storage_ledger::delivery::Webhook;

use tokio::time::timeout;

use super::{
    Site,
    receiver::{Delivery, Receiver, SECRET, status},
};

/// Answers `first` to the first delivery, and then 200.
fn first(receiver: &Receiver, first: impl Fn() -> axum::response::Response + Send + Sync + 'static) {
    let count = AtomicUsize::new(0);
    receiver.answers(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => first(),
        _ => status(200),
    });
}

#[tokio::test]
async fn sends_a_refused_event_again_with_its_id_and_before_later_events_of_its_key() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let running = site.deliver([receiver.webhook()]).await;
    let count = AtomicUsize::new(0);
    receiver.answers(move |delivery| match delivery.file().0.as_str() {
        "a" if count.fetch_add(1, Ordering::SeqCst) == 0 => status(500),
        _ => status(200),
    });
    site.put("a", "1").await;
    site.put("a", "22").await;
    site.put("b", "1").await;
    // The first two are sent at once: another key does not wait.
    let mut sent = [receiver.next().await, receiver.next().await];
    sent.sort_by_key(Delivery::file);
    let [refused, other] = sent;
    assert_eq!(refused.file(), ("a".to_owned(), 1));
    assert_eq!(other.file(), ("b".to_owned(), 1));
    let again = receiver.next().await;
    assert_eq!((again.id(), again.file()), (refused.id(), refused.file()));
    assert_eq!(receiver.next().await.file(), ("a".to_owned(), 2));
    running.stop().await;
    assert!(site.outbox().is_empty());
}

#[tokio::test]
async fn waits_as_long_as_the_receiver_asks() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let running = site.deliver([receiver.webhook()]).await;
    first(&receiver, || {
        let mut response = status(429);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("3"));
        response
    });
    site.put("a", "1").await;
    let refused = receiver.next().await.arrived;
    let waited = receiver.next().await.arrived - refused;
    assert!(waited > Duration::from_millis(2900), "{waited:?}");
    running.stop().await;
}

#[tokio::test]
async fn does_not_follow_redirects() {
    let site = Site::new().await;
    let (mut receiver, mut target) = (Receiver::start().await, Receiver::start().await);
    let location = HeaderValue::from_str(&target.url).unwrap();
    first(&receiver, move || {
        let mut response = status(307);
        response.headers_mut().insert(header::LOCATION, location.clone());
        response
    });
    let running = site.deliver([receiver.webhook()]).await;
    site.put("a", "1").await;
    let redirected = receiver.next().await;
    assert_eq!(receiver.next().await.id(), redirected.id());
    assert!(target.is_quiet());
    running.stop().await;
}

#[tokio::test]
async fn a_hanging_receiver_delays_neither_uploads_nor_another_receiver() {
    let site = Site::new().await;
    let (mut hanging, mut working) = (Receiver::start().await, Receiver::start().await);
    hanging.hang();
    let running = site.deliver([hanging.webhook().in_flight(2), working.webhook()]).await;
    for number in 0..100 {
        site.put(&number.to_string(), "1").await;
    }
    for _ in 0..100 {
        working.next().await;
    }
    for _ in 0..2 {
        hanging.next().await;
    }
    assert!(hanging.is_quiet());
    hanging.resume();
    running.stop().await;
}

/// The number of events that arrive at a receiver that does not answer, of 48 with documents of 256 KiB.
async fn claimed_with_documents(metadata: bool) -> usize {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let webhook = || receiver.webhook().in_flight(1000).metadata(metadata);
    site.deliver([webhook()]).await.stop().await;
    let document: &str = format!(r#"{{"x":"{}"}}"#, "x".repeat(256 << 10)).leak();
    for number in 0..48 {
        site.put_with(&number.to_string(), "1", document).await;
    }
    receiver.hang();
    let running = site.deliver([webhook()]).await;
    receiver.next().await;
    let mut arrived = 1;
    while timeout(Duration::from_secs(1), receiver.next()).await.is_ok() {
        arrived += 1;
    }
    receiver.resume();
    for _ in arrived..48 {
        receiver.next().await;
    }
    running.stop().await;
    assert!(site.outbox().is_empty());
    arrived
}

#[tokio::test]
async fn limits_the_memory_of_documents_in_flight() {
    assert_eq!(claimed_with_documents(true).await, 32);
    assert_eq!(claimed_with_documents(false).await, 48);
}

#[tokio::test]
async fn sends_an_event_again_if_there_is_no_answer_in_time() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    receiver.hang();
    let timeout = Duration::from_millis(100);
    let running = site.deliver([receiver.webhook().timeout(timeout)]).await;
    site.put("a", "1").await;
    let late = receiver.next().await;
    assert_eq!(receiver.next().await.id(), late.id());
    let [(_, Some(error))] = &site.outbox()[..] else {
        panic!()
    };
    assert_eq!(error, "no answer within 100ms");
    receiver.resume();
    running.stop().await;
}

#[tokio::test]
async fn a_receiver_that_fails_gets_one_event_at_a_time() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    receiver.answers(|_| status(503));
    let running = site.deliver([receiver.webhook().in_flight(2)]).await;
    for number in 0..200 {
        site.put(&number.to_string(), "1").await;
    }
    let mut times = Vec::new();
    for _ in 0..6 {
        times.push(receiver.next().await.arrived);
    }
    // At most four were claimed at once.
    let elapsed = times[5] - times[0];
    assert!(elapsed > Duration::from_millis(900), "{elapsed:?}");
    receiver.answers(|_| status(204));
    for _ in 0..200 {
        receiver.next().await;
    }
    running.stop().await;
}

#[tokio::test]
async fn an_event_that_fails_when_it_is_too_old_is_dead_and_blocks_nothing() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    first(&receiver, || status(422));
    let running = site
        .deliver([receiver.webhook().max_age(Duration::from_nanos(1))])
        .await;
    site.put("a", "1").await;
    site.put("a", "22").await;
    assert_eq!(receiver.next().await.file(), ("a".to_owned(), 1));
    assert_eq!(receiver.next().await.file(), ("a".to_owned(), 2));
    running.stop().await;
    let error = "the receiver answered 422 Unprocessable Entity".to_owned();
    assert_eq!(site.outbox(), [(None, Some(error))]);
}

#[tokio::test]
async fn keeps_events_of_a_receiver_that_does_not_exist() {
    let site = Site::new().await;
    let webhook = Webhook::new("http://127.0.0.1:1/secret-path", SECRET).unwrap();
    let running = site.deliver([webhook.into()]).await;
    site.put("a", "1").await;
    let error = site.error().await;
    assert!(error.contains("refused") && !error.contains("secret-path"), "{error}");
    running.stop().await;
}
