//! A ledger is rebuilt from its store.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use kazoo_storage::{BlobCatalog as _, BlobStore as _, FsStore, MemoryStore, digest::Digest};
use kazoo_storage_ledger::{EventKind, Recorded, Reindex, Reindexed};

use super::{Site, key, metadata, upload};

#[tokio::test]
async fn rebuilds_the_same_rows() {
    let (site, lost, root) = (Site::new().await, Site::new().await, tempfile::tempdir().unwrap());
    let files = std::sync::Arc::new(FsStore::options().durable(false).open(root.path()).unwrap());
    let store = Recorded::new(files.clone(), lost.ledger.clone());
    let paths: Vec<String> = (0..600)
        .map(|number| format!("ACC/{:06}-DOC/{number}.mp3", number % 7))
        .collect();
    for path in &paths {
        let document = metadata(r#"{"call_id":"b3f6","source_type":"voicemail"}"#);
        let upload = upload(path, "ID3")
            .with_metadata(document)
            .with_content_type(HeaderValue::from_static("audio/mpeg"));
        store.put(upload).await.unwrap();
    }
    let consumer = site.ledger.consumer("test").await.unwrap();
    let mut calls = Vec::new();
    let done = site
        .ledger
        .reindex(&files, Reindex::new(), |done| calls.push(done.listed))
        .await
        .unwrap();
    assert_eq!((done.listed, done.recorded), (600, 600));
    assert!(site.ledger.is_indexed().await.unwrap());
    assert_eq!(calls, [256, 512, 600]);
    for path in &paths {
        let (rebuilt, original) = (
            site.ledger.file(&key(path)).await.unwrap().unwrap(),
            lost.ledger.file(&key(path)).await.unwrap().unwrap(),
        );
        let distance = original.stored_at.duration_since(rebuilt.stored_at).unwrap_or_default();
        assert!(distance < Duration::from_secs(60), "{distance:?}");
        assert_eq!(rebuilt, original.with_stored_at(rebuilt.stored_at));
    }
    // A second run reads nothing again, and neither has created events.
    let again = site.ledger.reindex(&files, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!((again.listed, again.recorded), (600, 0));
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn records_only_the_files_below_a_prefix_and_events_since_a_time() {
    let site = Site::new().await;
    let store = MemoryStore::new();
    store.put(upload("A/D/a", "1")).await.unwrap();
    store.put(upload("B/D/b", "1")).await.unwrap();
    let consumer = site.ledger.consumer("test").await.unwrap();
    let future = SystemTime::now() + Duration::from_secs(3600);
    let below = Reindex::new().below(key("A")).events_since(future);
    assert_eq!(site.ledger.reindex(&store, below, |_| ()).await.unwrap().recorded, 1);
    assert!(!site.ledger.is_indexed().await.unwrap());
    let past = Reindex::new().events_since(SystemTime::UNIX_EPOCH);
    assert_eq!(site.ledger.reindex(&store, past, |_| ()).await.unwrap().recorded, 1);
    let job = consumer.try_next().await.unwrap().unwrap();
    assert_eq!(
        (job.event().file.key.to_string(), job.event().kind),
        ("B/D/b".to_owned(), EventKind::Stored)
    );
    job.ack().await.unwrap();
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn repairs_a_row_that_is_older_than_its_file_and_keeps_a_newer_one() {
    let site = Site::new().await;
    let store = MemoryStore::new();
    let recorded = Recorded::new(std::sync::Arc::new(store), site.ledger.clone());
    recorded.put(upload("a", "recorded")).await.unwrap();
    let file = site.ledger.file(&key("a")).await.unwrap().unwrap();
    // A row of an upload that was recorded after the listing.
    let newer = file
        .clone()
        .with_stored_at(SystemTime::now() + Duration::from_secs(3600))
        .with_sha256(Digest::of(b"newer"));
    site.ledger.record(&newer).await.unwrap();
    assert_eq!(
        site.ledger
            .reindex(&recorded, Reindex::new(), |_| ())
            .await
            .unwrap()
            .recorded,
        0
    );
    assert_eq!(
        site.ledger.file(&key("a")).await.unwrap().unwrap().sha256,
        Some(Digest::of(b"newer"))
    );

    let older = file
        .with_stored_at(SystemTime::UNIX_EPOCH)
        .with_sha256(Digest::of(b"older"));
    site.ledger.record(&older).await.unwrap();
    let done = site.ledger.reindex(&recorded, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!(done.recorded, 1);
    assert_ne!(
        site.ledger.file(&key("a")).await.unwrap().unwrap().sha256,
        Some(Digest::of(b"older"))
    );
    assert_ne!(done, Reindexed::default());
    recorded.delete(&key("a")).await.unwrap();
}

/// More metadata than waits in memory: it is recorded in several steps.
#[tokio::test]
async fn records_every_file_with_long_metadata() {
    let site = Site::new().await;
    let store = MemoryStore::new();
    let long = kazoo_storage::Metadata::from_json(format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20))).unwrap();
    for number in 0..10 {
        let upload = upload(&format!("A/D/{number}"), "1").with_metadata(long.clone());
        store.put(upload).await.unwrap();
    }
    let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!((done.listed, done.recorded), (10, 10));
    let again = site.ledger.file(&key("A/D/9")).await.unwrap().unwrap();
    assert_eq!(again.metadata, Some(long));
}
