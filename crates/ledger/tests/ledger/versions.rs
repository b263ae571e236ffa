//! A ledger opens the databases that earlier versions wrote, with their files and events.

use std::{fs, path::PathBuf, time::Duration};

use kazoo_storage::{BlobCatalog as _, BlobStore as _, MemoryStore, kazoo_id::AttachmentKind};
use kazoo_storage_ledger::{
    ClockFault, Consumer, EventKind, Ledger, Recorded, Search,
    events::{Backlog, EventState, Selection},
};
use tempfile::TempDir;

use super::{drain, key, metadata, upload};

/// The files that each fixture has.
pub(super) const VOICEMAIL: &str = "acc/202401-doc/5f4dcc3b5aa765d61d8327deb882cf99.mp3";
const RECORDING: &str = "acc/202401-doc/call_recording_b3f6.mp3";
const FAX: &str = "acc/202401-doc/fax_file.tiff";
const GREETING: &str = "acc/202401-doc/greeting.wav";

/// An event that was stored and then deleted, so that only its events remain.
const DELETED: &str = "acc/202401-doc/deleted.mp3";

pub(super) fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/versions"))
}

/// Returns every database, each in a directory of its own.
fn databases() -> Vec<(PathBuf, TempDir)> {
    let mut found = Vec::new();
    for version in fs::read_dir(directory()).unwrap() {
        for file in fs::read_dir(version.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name();
            if name.to_str().unwrap().ends_with(".sqlite") {
                let copy = tempfile::tempdir().unwrap();
                let path = copy.path().join(&name);
                fs::write(&path, fs::read(file.path()).unwrap()).unwrap();
                found.push((path, copy));
            }
        }
    }
    found
}

#[tokio::test]
async fn opens_every_ledger_of_an_earlier_version() {
    let databases = databases();
    assert!(databases.len() >= 2);
    for (path, _directory) in &databases {
        assert_kept(&Ledger::sqlite(path).await.unwrap()).await;
    }
}

/// Asserts that `ledger` has the files and events of a fixture, and works.
pub(super) async fn assert_kept(ledger: &Ledger) {
    let found = async |search: Search| {
        let files = ledger.search(search, 100).await.unwrap();
        let mut keys: Vec<_> = files.iter().map(|file| file.key.to_string()).collect();
        keys.sort();
        keys
    };
    assert_eq!(
        found(Search::new().account("acc")).await,
        [VOICEMAIL, RECORDING, FAX, GREETING]
    );
    assert_eq!(found(Search::new().call_id("b3f6")).await, [VOICEMAIL, RECORDING]);
    assert_eq!(found(Search::new().number("+4930123456")).await, [FAX]);
    assert_eq!(found(Search::new().kind(AttachmentKind::Fax)).await, [FAX]);
    let file = ledger.file(&key(VOICEMAIL)).await.unwrap().unwrap();
    assert_eq!((file.size, file.sha256.is_some()), (9, true));
    assert_eq!(file.metadata.unwrap().as_json(), r#" {"call_id":"b3f6"}"#);

    let dead = ledger
        .backlog(Backlog::new().state(EventState::Dead), 10)
        .await
        .unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (&*dead[0].receiver, dead[0].error.as_deref()),
        ("transcribe", Some("not audio"))
    );
    assert_eq!(dead[0].event.file.key, key(RECORDING));

    let stored = |path: &str| (path.to_owned(), EventKind::Stored);
    let deleted = [stored(DELETED), (DELETED.to_owned(), EventKind::Deleted)];
    // A claimed event is due at the end of its time.
    let transcribe = ledger.consumer("transcribe").await.unwrap();
    let rest = [&deleted[..], &[stored(FAX), stored(GREETING)]].concat();
    assert_eq!(drain_by_key(&transcribe).await, rest);
    assert_eq!(ledger.retry(Selection::dead(), false, |_| {}).await.unwrap().retried, 1);
    assert_eq!(drain(&transcribe).await, [stored(RECORDING)]);
    let archive = ledger.consumer("archive").await.unwrap();
    let all = [&[stored(VOICEMAIL), stored(RECORDING)], &rest[..]].concat();
    assert_eq!(drain_by_key(&archive).await, all);

    Recorded::new(MemoryStore::new(), ledger.clone())
        .put(upload("a/b/new", "1"))
        .await
        .unwrap();
    assert_eq!(drain(&archive).await, [stored("a/b/new")]);
}

#[tokio::test]
async fn the_first_start_with_retention_compares_the_clock_with_the_newest_file() {
    for (path, _directory) in &databases() {
        // In 1970.
        rusqlite::Connection::open(path)
            .unwrap()
            .execute_batch("UPDATE files SET stored_at = 1")
            .unwrap();
        let ledger = Ledger::sqlite(path).await.unwrap();
        assert_eq!(ledger.suspension().unwrap().fault, ClockFault::Ahead);
        ledger.confirm_time().await.unwrap();
        assert_eq!(ledger.suspension(), None);
    }
}

/// Writes the fixture of this version: `cargo test -p kazoo-storage-ledger --test ledger versions -- --ignored`.
#[tokio::test]
#[ignore = "replaces the fixtures of this version, for a release"]
async fn write_the_fixtures_of_this_version() {
    let path = directory().join("0.1/ledger.sqlite");
    let _ = fs::remove_file(&path);
    let ledger = Ledger::sqlite(&path).await.unwrap();
    fill(&ledger).await;
    let checkpoint = rusqlite::Connection::open(&path).unwrap();
    checkpoint.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();

    let old = directory().join("0.1/ledger-schema-1.sqlite");
    let _ = fs::remove_file(&old);
    let old = rusqlite::Connection::open(&old).unwrap();
    old.execute_batch(include_str!("../../src/database/sqlite/1.sql"))
        .unwrap();
    let columns = "seq, receiver, event, event_kind, recorded_at, key, kind, size, sha256, content_type, stored_at, metadata, \
                   call_id, caller_number, callee_number, due_at, attempts, error";
    let sql = format!(
        "PRAGMA application_id = 1264208967; PRAGMA user_version = 1; ATTACH '{}' AS new; DELETE FROM state; \
         INSERT INTO files SELECT * FROM new.files; INSERT INTO receivers SELECT * FROM new.receivers; \
         INSERT INTO state SELECT * FROM new.state WHERE name IN ('checked_at', 'indexed_at'); \
         INSERT INTO outbox ({columns}) SELECT {columns} FROM new.outbox",
        path.display()
    );
    old.execute_batch(&sql).unwrap();
    drop(old);
    // The log is empty.
    for log in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{log}", path.display())).unwrap();
    }
}

/// Drains `consumer`. Sorts the events by key, because only those of the same key have an order.
async fn drain_by_key(consumer: &Consumer) -> Vec<(String, EventKind)> {
    let mut events = drain(consumer).await;
    events.sort_by(|(one, _), (other, _)| one.cmp(other));
    events
}

/// Records the files and events of a fixture in the empty `ledger`.
pub(super) async fn fill(ledger: &Ledger) {
    let transcribe = ledger.consumer("transcribe").await.unwrap();
    let transcribe = transcribe.visibility(Duration::from_secs(1));
    ledger.consumer("archive").await.unwrap();
    let store = Recorded::new(MemoryStore::new(), ledger.clone());
    let call = metadata(r#" {"call_id":"b3f6"}"#);
    for (path, metadata) in [
        (VOICEMAIL, Some(call.clone())),
        (RECORDING, Some(call)),
        (FAX, Some(metadata(r#"{"from_number":"+4930123456"}"#))),
        (GREETING, None),
        (DELETED, None),
    ] {
        let mut upload = upload(path, "voicemail");
        upload.metadata = metadata;
        store.put(upload).await.unwrap();
    }
    store.delete(&key(DELETED)).await.unwrap();
    assert!(transcribe.try_next().await.unwrap().unwrap().ack().await.unwrap());
    assert!(
        transcribe
            .try_next()
            .await
            .unwrap()
            .unwrap()
            .bury("not audio")
            .await
            .unwrap()
    );
    // Remains claimed.
    drop(transcribe.try_next().await.unwrap().unwrap());
}
