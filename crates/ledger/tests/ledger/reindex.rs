//! A ledger is rebuilt from its store.

use std::time::{Duration, SystemTime};

use futures_core::Stream;
use futures_util::{FutureExt as _, TryStreamExt as _};
use http::HeaderValue;
use kazoo_storage::{
    BlobCatalog, BlobKey, BlobStore, ByteRange, Error, ErrorKind, FsStore, GetResult, MemoryStore, Metadata, PutResult,
    Result, Upload,
    digest::Digest,
    store::{BlobEntry, Fault, FaultyStore, Operation},
};
use kazoo_storage_ledger::{EventKind, Recorded, Reindex, Reindexed};

use super::{Site, drain, key, metadata, upload};

#[tokio::test]
async fn rebuilds_the_same_rows() {
    let (site, lost, root) = (Site::new().await, Site::new().await, tempfile::tempdir().unwrap());
    let files = std::sync::Arc::new(FsStore::options().durable(false).open(root.path()).unwrap());
    let store = Recorded::new(files.clone(), lost.ledger.clone());
    let paths: Vec<String> = (0..1100)
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
    assert_eq!((done.listed, done.recorded), (1100, 1100));
    assert!(site.ledger.is_indexed().await.unwrap());
    assert_eq!(calls, [1024, 1100]);
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
    assert_eq!((again.listed, again.recorded), (1100, 0));
    assert!(consumer.try_next().await.unwrap().is_none());
}

/// The store has a file before the ledger: a reindex beside the upload may find it in between.
#[tokio::test]
async fn an_upload_has_its_event_although_a_reindex_records_its_file_first() {
    let (site, files) = (Site::new().await, std::sync::Arc::new(MemoryStore::new()));
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let consumer = site.ledger.consumer("test").await.unwrap();
    for (content, kind) in [("1", EventKind::Stored), ("22", EventKind::Replaced)] {
        // The clock may not have moved since the file before was recorded.
        let mut recorded = 0;
        while recorded == 0 {
            files.put(upload("a", content)).await.unwrap();
            let done = site.ledger.reindex(&files, Reindex::new(), |_| ()).await.unwrap();
            recorded = done.recorded;
        }
        assert!(consumer.try_next().await.unwrap().is_none());
        for event in [Some(kind), None] {
            store.put(upload("a", content)).await.unwrap();
            let job = consumer.try_next().await.unwrap();
            assert_eq!(job.as_ref().map(|job| job.event().kind), event);
            if let Some(job) = job {
                job.ack().await.unwrap();
            }
        }
    }
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

/// A directory ignores the sidecar of a file that another program touched, restored or changed. The file stays in its holds.
#[tokio::test]
async fn a_file_with_another_time_than_its_sidecar_keeps_its_metadata() {
    let (site, root) = (Site::new().await, tempfile::tempdir().unwrap());
    let files = std::sync::Arc::new(FsStore::options().durable(false).open(root.path()).unwrap());
    let store = Recorded::new(files, site.ledger.clone());
    let document = metadata(r#"{"call_id":"c-7","caller_id_number":"+491","source_type":"voicemail"}"#);
    store
        .put(upload("A/D/a.mp3", "media").with_metadata(document))
        .await
        .unwrap();
    let before = site.ledger.file(&key("A/D/a.mp3")).await.unwrap().unwrap();

    let later = SystemTime::now() + Duration::from_secs(3600);
    let media = std::fs::File::options().write(true).open(root.path().join("A/D/a.mp3"));
    media.unwrap().set_modified(later).unwrap();
    let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!(done.recorded, 1);
    let after = site.ledger.file(&key("A/D/a.mp3")).await.unwrap().unwrap();
    assert!(after.stored_at > before.stored_at);
    assert_eq!(after.sha256, None);
    assert_eq!(after.metadata, before.metadata);
    assert_eq!(
        (after.kind, after.call_id, after.caller_number, after.callee_number),
        (before.kind, before.call_id, before.caller_number, before.callee_number)
    );
}

/// More metadata than waits in memory: it is recorded in several steps.
#[tokio::test]
async fn records_every_file_with_long_metadata() {
    let site = Site::new().await;
    let store = MemoryStore::new();
    let long = Metadata::from_json(format!(r#"{{"a":"{}"}}"#, "x".repeat(1 << 20))).unwrap();
    for number in 0..10 {
        let upload = upload(&format!("A/D/{number}"), "1").with_metadata(long.clone());
        store.put(upload).await.unwrap();
    }
    let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!((done.listed, done.recorded), (10, 10));
    let again = site.ledger.file(&key("A/D/9")).await.unwrap().unwrap();
    assert_eq!(again.metadata, Some(long));
}

/// A store whose file `a` is deleted as soon as it was listed.
struct Vanishing(MemoryStore);

impl BlobStore for Vanishing {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.0.get(key, range).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }
}

impl BlobCatalog for Vanishing {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let listed = self.0.list(prefix);
        self.0.delete(&key("a")).now_or_never().unwrap().unwrap();
        listed
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn skips_a_file_that_vanishes_after_it_was_listed() {
    let site = Site::new().await;
    let store = Vanishing(MemoryStore::new());
    for path in ["a", "b"] {
        store.put(upload(path, "1")).await.unwrap();
    }
    let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!((done.listed, done.recorded), (2, 1));
    assert!(site.ledger.file(&key("a")).await.unwrap().is_none());
    assert!(site.ledger.file(&key("b")).await.unwrap().is_some());
    assert!(site.ledger.is_indexed().await.unwrap());
}

/// A store that lists no times, so that every file is read again.
struct Undated(MemoryStore);

impl BlobStore for Undated {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.0.get(key, range).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }
}

impl BlobCatalog for Undated {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.0.list(prefix).map_ok(|entry| entry.with_modified(None))
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn counts_only_files_whose_rows_it_has_written() {
    let site = Site::new().await;
    let store = Undated(MemoryStore::new());
    let consumer = site.ledger.consumer("test").await.unwrap();
    let reindex = async || {
        let past = Reindex::new().events_since(SystemTime::UNIX_EPOCH);
        let done = site.ledger.reindex(&store, past, |_| ()).await.unwrap();
        (done.listed, done.recorded)
    };
    store.put(upload("a", "1")).await.unwrap();
    assert_eq!(reindex().await, (1, 1));
    store.put(upload("b", "1")).await.unwrap();
    assert_eq!(reindex().await, (2, 1));
    assert_eq!(reindex().await, (2, 0));
    let stored = |path: &str| (path.to_owned(), EventKind::Stored);
    assert_eq!(drain(&consumer).await, [stored("a"), stored("b")]);
}

#[tokio::test]
async fn is_not_complete_if_a_file_cannot_be_read() {
    let site = Site::new().await;
    let store = FaultyStore::new(MemoryStore::new());
    store.put(upload("A/D/+4930123.mp3", "1")).await.unwrap();
    store.inject(
        [Operation::Describe],
        Fault::Fail(Error::new(ErrorKind::Unavailable, "the disk is gone")),
    );
    let error = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // Without the name, which may be a caller's.
    let expected = "the file of the document `D` in the account `A` cannot be read: the disk is gone";
    assert_eq!(error.message(), expected);
    assert!(!site.ledger.is_indexed().await.unwrap());
    store.repair();
    let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
    assert_eq!((done.listed, done.recorded), (1, 1));
}
