//! The policy decides which files are due, and retention removes them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{future::join_all, stream};
use kazoo_storage::{
    BlobCatalog as _, BlobStore, Body, Error, ErrorKind, MemoryStore, Upload,
    kazoo_id::AttachmentKind,
    store::{Fault, FaultyStore, Operation},
};
use kazoo_storage_ledger::{
    ClockFault, EventKind, FileRecord, Recorded, Search,
    policy::{Policy, Rule},
    removal::{Cause, Removal},
    retention::{Position, Retained},
};

use super::{Site, drain, key};

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn policy(rules: impl IntoIterator<Item = Rule>) -> Policy {
    rules
        .into_iter()
        .fold(Policy::new(), |policy, rule| policy.rule(rule).unwrap())
}

/// Adds the hold `h` of a file without the wait.
fn hold_key(site: &Site, path: &str) {
    let key = path.replace('/', "\u{1f}");
    site.execute(&format!(
        "INSERT INTO holds (id, reason, author, created_at, key) VALUES ('h', 'case 7', 'legal', 1, '{key}')"
    ));
}

/// Records files of this age in days, each of them 10 bytes long.
pub(super) async fn record(site: &Site, files: &[(&str, u32)]) {
    for (path, days) in files {
        let stored_at = SystemTime::now() - DAY * *days;
        let file = FileRecord::new(&key(path), 10, None).with_stored_at(stored_at);
        site.ledger.record(&file).await.unwrap();
    }
}

/// Returns a store with the files of the ledger.
async fn stored(site: &Site) -> MemoryStore {
    let files = MemoryStore::new();
    store_all(site, &files).await;
    files
}

async fn store_all(site: &Site, files: &impl BlobStore) {
    for file in site.ledger.search(Search::new(), 9999).await.unwrap() {
        files.put(Upload::new(file.key, "ID3")).await.unwrap();
    }
}

/// Runs retention, and returns the files that it has removed, in order.
async fn retain(site: &Site) -> (Retained, Vec<String>) {
    let consumer = site.ledger.consumer("removed").await.unwrap();
    let store = Recorded::new(stored(site).await, site.ledger.clone());
    let retained = store.retain().await.unwrap();
    let removed = drain(&consumer).await.into_iter().map(|(path, kind)| {
        assert_eq!(kind, EventKind::Deleted);
        path
    });
    (retained, removed.collect())
}

#[tokio::test]
async fn removes_what_the_most_specific_rule_deletes() {
    let site = Site::new().await;
    record(
        &site,
        &[
            ("A/D/call_recording_1.mp3", 40),
            ("A/D/call_recording_2.mp3", 41),
            ("A/D/greeting.wav", 29),
            ("A/D/fax_file.tiff", 400),
            ("B/D/call_recording_1.mp3", 40),
            ("B/O/D/fax_file.tiff", 11),
            ("B/D/fax_file.tiff", 9),
            ("system_data/x", 31),
        ],
    )
    .await;
    let none = retain(&site).await;
    assert_eq!((none.0.removed, none.1.len()), (0, 0));
    site.ledger.set_policy(policy([
        Rule::new().days(30),
        Rule::new().account("B").floor_days(1000),
        Rule::new().account("B").kind(AttachmentKind::Fax).days(10),
        Rule::new().kind(AttachmentKind::Fax),
    ]));
    let plan = site.ledger.plan(|_| {}).await.unwrap();
    let planned: Vec<_> = plan.rules.iter().map(|rule| (rule.files, rule.bytes)).collect();
    assert_eq!(planned, [(3, 30), (0, 0), (1, 10), (0, 0)]);
    let oldest = plan.rules[0].oldest.unwrap();
    assert!(oldest < SystemTime::now() - DAY * 41 && oldest > SystemTime::now() - DAY * 42);
    let (retained, mut removed) = retain(&site).await;
    removed.sort();
    assert_eq!(
        removed,
        [
            "A/D/call_recording_1.mp3",
            "A/D/call_recording_2.mp3",
            "B/O/D/fax_file.tiff",
            "system_data/x",
        ]
    );
    assert_eq!((retained.removed, retained.bytes, retained.failed), (4, 40, 0));
    assert_eq!(retain(&site).await.0.removed, 0);
}

#[tokio::test]
async fn pages_have_each_file_once() {
    let site = Site::new().await;
    let names: Vec<_> = (0..1200).map(|number| format!("A/D/{number:04}")).collect();
    let stored_at = SystemTime::now() - DAY * 2;
    let record = async |(number, name): (usize, &String)| {
        // Many have the same time.
        let stored_at = stored_at + Duration::from_secs(number as u64 / 400);
        let file = FileRecord::new(&key(name), 1, None).with_stored_at(stored_at);
        site.ledger.record(&file).await.unwrap();
    };
    join_all(names.iter().enumerate().map(record)).await;
    for rule in [Rule::new(), Rule::new().account("A"), Rule::new().kind(None)] {
        site.ledger
            .set_policy(policy([Rule::new().kind(AttachmentKind::Fax).days(1), rule.days(1)]));
        let mut due = site.ledger.files_due(None);
        let mut found = Vec::new();
        loop {
            let page = due.next().await.unwrap();
            assert!(page.len() <= 512 && page.iter().all(|due| due.rule == 1));
            if page.is_empty() {
                break;
            }
            found.extend(page.into_iter().map(|due| due.file));
        }
        let paths: Vec<_> = found.iter().map(|file| file.key.to_string()).collect();
        assert_eq!(paths, names);
        let middle = &found[299];
        let position = Position::new(1, middle.stored_at, middle.key.clone());
        let next = site.ledger.files_due(Some(position)).next().await.unwrap();
        assert_eq!(next[0].file.key, found[300].key);
    }
}

#[tokio::test]
async fn keeps_files_that_are_held_or_were_replaced() {
    let site = Site::new().await;
    record(&site, &[("A/D/held", 3), ("A/D/replaced", 3), ("A/D/good", 3)]).await;
    hold_key(&site, "A/D/held");
    site.ledger.set_policy(policy([Rule::new().days(1)]));
    let plan = site.ledger.plan(|_| {}).await.unwrap();
    assert_eq!((plan.rules[0].files, plan.rules[0].held), (2, 1));
    let due = site.ledger.files_due(None).next().await.unwrap();
    let holds: Vec<_> = due.iter().map(|due| due.hold.as_deref()).collect();
    assert_eq!(holds.iter().filter(|hold| **hold == Some("h")).count(), 1);

    let keys = ["A/D/replaced", "A/D/held"].map(key);
    record(&site, &[("A/D/replaced", 0)]).await;
    site.execute("UPDATE files SET stored_at = 4000000000000 WHERE attachment = 'replaced'");
    let removed = site.store().remove(&keys[1..], Cause::Retention).await;
    assert!(matches!(removed[0], Ok(Removal::Protected(_))));
    let (retained, removed) = retain(&site).await;
    assert_eq!(removed, ["A/D/good"]);
    assert_eq!((retained.removed, retained.kept, retained.failed), (1, 1, 0));
}

#[tokio::test]
async fn nobody_removes_a_file_before_its_floor() {
    let site = Site::new().await;
    record(&site, &[("A/D/recent", 1), ("A/D/old", 3)]).await;
    site.ledger.set_policy(policy([Rule::new().account("A").floor_days(2)]));
    let refused = site.store().delete(&key("A/D/recent")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    site.store().delete(&key("A/D/old")).await.unwrap();
}

#[tokio::test]
async fn two_servers_remove_each_file_once() {
    let site = Site::new().await;
    let names: Vec<_> = (0..100).map(|number| format!("A/D/{number:03}")).collect();
    record(&site, &names.iter().map(|name| (&**name, 2)).collect::<Vec<_>>()).await;
    let ledger = site.open_again().await;
    let files = Arc::new(stored(&site).await);
    let (store, other) = (
        Recorded::new(files.clone(), site.ledger.clone()),
        Recorded::new(files, ledger.clone()),
    );
    for ledger in [&site.ledger, &ledger] {
        ledger.set_policy(policy([Rule::new().days(1)]));
    }
    let consumer = site.ledger.consumer("removed").await.unwrap();
    let (one, two) = tokio::join!(store.retain(), other.retain());
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.failed, two.failed), (0, 0), "{one:?} {two:?}");
    assert_eq!(drain(&consumer).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn ends_if_the_store_is_down_and_yields_to_uploads() {
    let site = Site::sqlite().await;
    let names: Vec<_> = (0..500).map(|number| format!("A/D/{number:03}")).collect();
    record(&site, &names.iter().map(|name| (&**name, 2)).collect::<Vec<_>>()).await;
    site.ledger.set_policy(policy([Rule::new().days(1)]));
    let files = FaultyStore::new(stored(&site).await);
    let store = Recorded::new(files.clone(), site.ledger.clone());
    files.inject(
        [Operation::Delete, Operation::Check],
        Fault::Fail(Error::new(ErrorKind::Unavailable, "down")),
    );
    let down = store.retain().await.unwrap();
    assert_eq!((down.failed, down.error.unwrap().message()), (500, "down"));
    files.repair();
    files.inject([Operation::Delete], Fault::Delay(Duration::from_millis(20)));
    let begun = tokio::time::Instant::now();
    assert_eq!(store.retain().await.unwrap().removed, 500);
    let full = begun.elapsed();
    // 128 files are removed at once.
    assert!(full < Duration::from_secs(1), "{full:?}");

    record(&site, &names.iter().map(|name| (&**name, 2)).collect::<Vec<_>>()).await;
    store_all(&site, &files).await;
    let body = Body::from_stream(stream::pending::<Result<&str, Error>>());
    let uploading = tokio::spawn({
        let store = store.clone();
        async move { store.put(Upload::new(key("A/D/new"), body)).await }
    });
    tokio::task::yield_now().await;
    let begun = tokio::time::Instant::now();
    assert_eq!(store.retain().await.unwrap().removed, 500);
    let yielding = begun.elapsed();
    // The last batch needs no pause after it.
    assert!(
        yielding >= Duration::from_secs(2) && yielding < Duration::from_secs(4),
        "{yielding:?}"
    );
    uploading.abort();
}

#[tokio::test]
async fn a_file_that_cannot_be_removed_delays_no_other() {
    let site = Site::new().await;
    record(&site, &[("A/D/ruled", 2), ("A/D1/requested", 0), ("A/D2/requested", 0)]).await;
    site.ledger
        .set_policy(policy([Rule::new().days(1)]).grace(Duration::ZERO));
    for document in ["D1", "D2"] {
        site.ledger.request_deletion("A", document, "fax").await.unwrap();
    }
    site.execute("UPDATE deletion_requests SET due_at = due_at - 1000");
    let files = FaultyStore::new(stored(&site).await);
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let denied = Error::new(ErrorKind::Unavailable, "access denied");
    files.inject([Operation::Delete], Fault::Fail(denied));
    let retained = store.retain().await.unwrap();
    assert_eq!((retained.removed, retained.failed), (0, 3), "{retained:?}");
    files.repair();
    assert_eq!(store.retain().await.unwrap().removed, 3);
}

#[tokio::test]
async fn removes_the_files_of_a_deleted_document_after_the_grace_period() {
    let site = Site::new().await;
    site.ledger.set_policy(Policy::new().grace(Duration::ZERO));
    record(
        &site,
        &[
            ("A/D/message.mp3", 0),
            ("A/D/second.mp3", 0),
            ("A/O/D/owned.mp3", 0),
            ("A/D2/message.mp3", 0),
            ("B/D/message.mp3", 0),
            ("A/D/too/deep/message.mp3", 0),
        ],
    )
    .await;
    assert!(site.ledger.request_deletion("A", "D", "mailbox_message").await.unwrap());
    assert!(!site.ledger.request_deletion("A", "D", "mailbox_message").await.unwrap());
    assert!(site.ledger.request_deletion("A", "absent", "fax").await.unwrap());
    // The time for deletions may be some milliseconds behind the time of requests.
    site.execute("UPDATE deletion_requests SET due_at = due_at - 1000");
    assert_eq!(site.ledger.plan(|_| {}).await.unwrap().documents, 2);
    let (retained, mut removed) = retain(&site).await;
    removed.sort();
    assert_eq!(removed, ["A/D/message.mp3", "A/D/second.mp3", "A/O/D/owned.mp3"]);
    assert_eq!(retained.removed, 3);
    assert!(site.ledger.deletion_requests(None, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_is_cancelled_meanwhile_is_not_carried_out() {
    let site = Site::sqlite().await;
    site.ledger.set_policy(Policy::new().grace(Duration::ZERO));
    record(&site, &[("A/D1/message.mp3", 0), ("A/D2/message.mp3", 0)]).await;
    for document in ["D1", "D2"] {
        site.ledger.request_deletion("A", document, "fax").await.unwrap();
    }
    site.execute("UPDATE deletion_requests SET due_at = due_at - 1000");
    site.execute(
        "CREATE TRIGGER cancel AFTER DELETE ON files BEGIN DELETE FROM deletion_requests WHERE document = 'D2'; END",
    );
    assert_eq!(retain(&site).await.1, ["A/D1/message.mp3"]);
}

#[tokio::test]
async fn a_request_waits_for_its_time_the_floor_and_failures() {
    let site = Site::new().await;
    record(&site, &[("A/D/recent", 1), ("A/D/old", 3), ("A/D2/held", 3)]).await;
    site.ledger.request_deletion("A", "later", "fax").await.unwrap();
    site.ledger
        .set_policy(policy([Rule::new().floor_days(2)]).grace(Duration::ZERO));
    site.ledger.request_deletion("A", "D", "fax").await.unwrap();
    site.ledger.request_deletion("A", "D2", "fax").await.unwrap();
    site.execute("UPDATE deletion_requests SET due_at = due_at - 1000 WHERE document <> 'later'");
    hold_key(&site, "A/D2/held");
    for expected in [&["A/D/old"][..], &[]] {
        let (retained, removed) = retain(&site).await;
        assert_eq!(
            (&removed[..], retained.kept),
            (
                &expected.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()[..],
                2
            )
        );
    }
    let requests = site.ledger.deletion_requests(None, 2).await.unwrap();
    let last = site.ledger.deletion_requests(requests.last(), 9).await.unwrap();
    let documents: Vec<_> = requests.iter().chain(&last).map(|request| &*request.document).collect();
    assert_eq!(documents, ["D", "D2", "later"]);
    assert_eq!(last[0].due_at, last[0].requested_at + DAY * 30);
    assert!(site.ledger.cancel_deletion("A", "later").await.unwrap());
    assert!(!site.ledger.cancel_deletion("A", "later").await.unwrap());
}

#[tokio::test]
async fn a_clock_behind_the_note_suspends_until_it_is_confirmed() {
    let site = Site::new().await;
    record(&site, &[("A/D/old", 3)]).await;
    site.ledger.set_policy(policy([Rule::new().days(1)]));
    site.execute("UPDATE state SET value = 4000000000000 WHERE name = 'clock_noted_at'");
    let ledger = site.open_again().await;
    let suspension = ledger.suspension().unwrap();
    assert_eq!(suspension.fault, ClockFault::Behind);
    assert!(suspension.expected > suspension.clock);
    let keeping = tokio::spawn(ledger.clone().keep_time());
    let other = site.open_again().await;
    other.set_policy(policy([Rule::new().days(1)]));
    let store = Recorded::new(MemoryStore::new(), other.clone());
    let none = store.retain().await.unwrap();
    assert!(none.suspension.is_some() && none.removed == 0);
    other.confirm_time().await.unwrap();
    assert!(other.suspension().is_none());
    assert!(site.open_again().await.suspension().is_none());
    ledger.close();
    keeping.await.unwrap();
}
