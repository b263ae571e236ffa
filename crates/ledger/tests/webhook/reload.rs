//! Webhooks that stop, come back and change.

use std::time::SystemTime;

use kazoo_storage_ledger::events::ReceiverState;

use super::{
    Site,
    receiver::{Receiver, status},
};

#[tokio::test]
async fn waits_for_answers_before_it_stops() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    receiver.hang();
    let running = site.deliver([receiver.webhook().in_flight(1)]).await;
    site.put("a", "1").await;
    site.put("b", "1").await;
    receiver.next().await;
    let stopping = tokio::spawn(running.stop());
    receiver.resume();
    stopping.await.unwrap();
    // The other event was claimed as the next one, and may not have been sent.
    assert!(site.outbox().len() <= 1);
    // Its claim does not delay it.
    if receiver.is_quiet() {
        let running = site.deliver([receiver.webhook()]).await;
        receiver.next().await;
        running.stop().await;
    }
    assert!(site.outbox().is_empty());
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_it_is_registered_again() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let mut other = Receiver::start().await;
    receiver.answers(|_| status(410));
    let running = site.deliver([receiver.webhook().in_flight(1), other.webhook()]).await;
    site.put("a", "1").await;
    receiver.next().await;
    other.next().await;
    site.put("b", "1").await;
    other.next().await;
    running.stop().await;
    assert!(receiver.is_quiet());
    let states = || async {
        let receivers = site.ledger.receivers().await.unwrap();
        let mut states: Vec<_> = receivers.iter().map(|receiver| receiver.state).collect();
        states.sort_by_key(|state| state.as_str());
        states
    };
    assert_eq!(states().await, [ReceiverState::Active, ReceiverState::Gone]);
    // Nothing delays them: the next registration sends them at once.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let is_due = |due: Option<i64>| due.is_some_and(|due| u128::try_from(due).unwrap() <= now.as_millis());
    let events = site.outbox();
    assert!(
        events.len() == 2 && events.iter().all(|(due, _)| is_due(*due)),
        "{events:?}"
    );
    receiver.answers(|_| status(200));
    let running = site.deliver([receiver.webhook(), other.webhook()]).await;
    assert_eq!(states().await, [ReceiverState::Active; 2]);
    let mut keys = [receiver.next().await.file().0, receiver.next().await.file().0];
    keys.sort();
    assert_eq!(keys, ["a", "b"]);
    running.stop().await;
    assert!(site.outbox().is_empty());
}

#[tokio::test]
async fn a_webhook_that_is_removed_keeps_its_events_and_gets_no_new_ones() {
    let site = Site::new().await;
    let mut receiver = Receiver::start().await;
    let consumer = site.ledger.consumer("in-process").await.unwrap();
    site.deliver([receiver.webhook()]).await.stop().await;
    site.put("a", "1").await;
    site.deliver([]).await.stop().await;
    site.put("b", "1").await;
    // The consumer is no webhook, and still gets everything.
    for key in ["a", "b"] {
        let job = consumer.next().await.unwrap();
        assert_eq!(job.event().file.key.to_string(), key);
        job.ack().await.unwrap();
    }
    let running = site.deliver([receiver.webhook()]).await;
    site.put("c", "1").await;
    let mut keys = [receiver.next().await.file().0, receiver.next().await.file().0];
    keys.sort();
    assert_eq!(keys, ["a", "c"]);
    running.stop().await;
    // The one of the consumer.
    assert_eq!(site.outbox().len(), 1);
}

#[tokio::test]
async fn a_consumer_cannot_take_the_name_of_a_webhook() {
    let site = Site::new().await;
    let error = site.ledger.consumer("webhook:crm").await.unwrap_err();
    assert!(error.message().contains("choose another"), "{error}");
}

#[tokio::test]
async fn a_consumer_with_a_similar_name_keeps_its_events() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("Webhook:mine").await.unwrap();
    let receiver = Receiver::start().await;
    let running = site.deliver([receiver.webhook()]).await;
    site.put("a", "1").await;
    running.stop().await;
    assert!(consumer.try_next().await.unwrap().is_some());
}
