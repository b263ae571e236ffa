//! A store is compared with its ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures_core::Stream;
use futures_util::StreamExt as _;
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, ErrorKind, GetResult, MemoryStore, Metadata, PutResult,
    Result, Upload, digest::Digest, store::BlobEntry,
};
use kazoo_storage_ledger::{
    EventKind, FileRecord, Recorded,
    verify::{Difference, Verified, Verify},
};
use tokio::sync::Notify;

use super::{Site, drain, key, metadata, upload};

type Found = BTreeMap<String, (&'static str, bool)>;

/// Returns the differences: the key, the kind, and whether it was repaired.
async fn verify<S: BlobCatalog>(store: &Recorded<S>, options: Verify) -> Result<(Verified, Found)> {
    let found = Mutex::new(Found::new());
    let add = |difference: Difference| {
        let kind = (difference.kind.as_str(), difference.repaired);
        assert!(
            found.lock().unwrap().insert(difference.key.to_string(), kind).is_none(),
            "{difference:?}"
        );
        async {}
    };
    let done = store.verify(options, add, |_| ()).await?;
    let found = found.into_inner().unwrap();
    assert_eq!(done.differences, found.len() as u64);
    Ok((done, found))
}

/// A store whose files the ledger has in another way: each of the kinds of a difference, and one file that agrees.
async fn differing(site: &Site) -> (Recorded<Arc<MemoryStore>>, Arc<MemoryStore>) {
    let files = Arc::new(MemoryStore::new());
    let store = Recorded::new(files.clone(), site.ledger.clone());
    for path in ["a/same", "a/other", "a/gone"] {
        store.put(upload(path, "content")).await.unwrap();
    }
    files.delete(&key("a/gone")).await.unwrap();
    files.put(upload("a/other", "contents")).await.unwrap();
    let document = metadata(r#"{"call_id":"b3f6"}"#);
    files
        .put(upload("a/unrecorded", "content").with_metadata(document))
        .await
        .unwrap();
    (store, files)
}

#[tokio::test]
async fn finds_differences_in_both_directions_and_changes_nothing() {
    let site = Site::new().await;
    let (store, files) = differing(&site).await;
    for _ in 0..2 {
        let (done, found) = verify(&store, Verify::new()).await.unwrap();
        assert_eq!(
            found,
            Found::from([
                ("a/gone".to_owned(), ("gone", false)),
                ("a/other".to_owned(), ("differs", false)),
                ("a/unrecorded".to_owned(), ("unrecorded", false)),
            ])
        );
        assert_eq!((done.listed, done.recorded, done.compared), (3, 3, 3));
        assert_eq!((done.repaired, done.bytes), (0, 0));
    }
    assert_eq!(files.head(&key("a/other")).await.unwrap().len, 8);
}

#[tokio::test]
async fn repairs_the_ledger_and_tells_receivers_of_the_files_that_are_gone() {
    let site = Site::new().await;
    let (store, files) = differing(&site).await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let (done, found) = verify(&store, Verify::new().repair(true)).await.unwrap();
    assert!(found.values().all(|(_, repaired)| *repaired), "{found:?}");
    assert_eq!((done.differences, done.repaired), (3, 3));
    assert_eq!(drain(&consumer).await, [("a/gone".to_owned(), EventKind::Deleted)]);

    assert!(site.ledger.file(&key("a/gone")).await.unwrap().is_none());
    let other = site.ledger.file(&key("a/other")).await.unwrap().unwrap();
    assert_eq!((other.size, other.sha256), (8, Some(Digest::of(b"contents"))));
    let unrecorded = site.ledger.file(&key("a/unrecorded")).await.unwrap().unwrap();
    assert_eq!(unrecorded.call_id.as_deref(), Some("b3f6"));
    let listed = files.list(None).map(|entry| entry.unwrap().key.to_string());
    let listed: BTreeSet<_> = listed.collect().await;
    assert!(listed.iter().eq(["a/other", "a/same", "a/unrecorded"]), "{listed:?}");

    let contents = Verify::new().contents(files.clone()).repair(true);
    let (done, found) = verify(&store, contents).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    assert_eq!((done.compared, done.bytes), (3, 22));
    // As after a reindex, the first upload of each file has an event.
    for (path, kind) in [("a/unrecorded", EventKind::Stored), ("a/other", EventKind::Replaced)] {
        let content = if kind == EventKind::Stored {
            "content"
        } else {
            "contents"
        };
        store.put(upload(path, content)).await.unwrap();
        assert_eq!(drain(&consumer).await, [(path.to_owned(), kind)]);
    }
}

#[tokio::test]
async fn reads_contents_only_if_asked_to() {
    let (site, files) = (Site::new().await, Arc::new(MemoryStore::new()));
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let damaged = MemoryStore::new();
    for (path, content) in [("a/1", "content"), ("a/2", "content"), ("a/3", "content")] {
        store.put(upload(path, content)).await.unwrap();
    }
    damaged.put(upload("a/1", "content")).await.unwrap();
    damaged.put(upload("a/2", "damaged")).await.unwrap();
    let (_, found) = verify(&store, Verify::new()).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
    let options = Verify::new().contents(damaged).repair(true);
    let (done, found) = verify(&store, options).await.unwrap();
    assert_eq!(
        found,
        Found::from([
            ("a/2".to_owned(), ("damaged", false)),
            ("a/3".to_owned(), ("unreadable", false)),
        ])
    );
    assert_eq!((done.compared, done.repaired), (3, 0));
}

#[tokio::test]
async fn keeps_the_digest_of_a_file_that_was_changed_behind_the_store() {
    let (site, root) = (Site::new().await, tempfile::tempdir().unwrap());
    let files = kazoo_storage::FsStore::options()
        .durable(false)
        .open(root.path())
        .unwrap();
    let store = Recorded::new(files, site.ledger.clone());
    store.put(upload("a/b/c.mp3", "content")).await.unwrap();
    std::fs::write(root.path().join("a/b/c.mp3"), "cut").unwrap();
    let (done, found) = verify(&store, Verify::new().repair(true)).await.unwrap();
    assert_eq!(found, Found::from([("a/b/c.mp3".to_owned(), ("differs", false))]));
    assert_eq!(done.repaired, 0);
    let file = site.ledger.file(&key("a/b/c.mp3")).await.unwrap().unwrap();
    assert_eq!(file.sha256, Some(Digest::of(b"content")));
}

#[tokio::test]
async fn repairs_nothing_if_the_store_is_empty() {
    let site = Site::new().await;
    let store = site.store();
    let file = FileRecord::new(&key("a/b"), 7, None);
    site.ledger.record(&file).await.unwrap();
    let error = verify(&store, Verify::new().repair(true)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(site.ledger.file(&key("a/b")).await.unwrap().is_some());
    let (_, found) = verify(&store, Verify::new()).await.unwrap();
    assert_eq!(found, Found::from([("a/b".to_owned(), ("gone", false))]));
}

#[tokio::test]
async fn compares_more_files_than_a_page_has() {
    let (site, files) = (Site::new().await, Arc::new(MemoryStore::new()));
    let store = Recorded::new(files.clone(), site.ledger.clone());
    for number in 0..1100 {
        let path = format!("a/{number}");
        match number % 3 {
            0 => drop(files.put(upload(&path, "1")).await.unwrap()),
            1 => {
                let file = FileRecord::new(&key(&path), 1, None);
                site.ledger.record(&file).await.unwrap();
            }
            _ => drop(store.put(upload(&path, "1")).await.unwrap()),
        }
    }
    let (done, found) = verify(&store, Verify::new().repair(true)).await.unwrap();
    assert_eq!((done.listed, done.repaired), (733, 734));
    let of = |kind| found.values().filter(|found| **found == (kind, true)).count();
    assert_eq!((of("unrecorded"), of("gone")), (367, 367));
    let (done, found) = verify(&store, Verify::new()).await.unwrap();
    assert!(found.is_empty() && done.compared == 733, "{done:?}");
}

/// A store whose uploads are stored, and then wait to be acknowledged.
struct Hanging {
    files: MemoryStore,
    stored: Notify,
    acknowledge: Notify,
}

impl BlobStore for Hanging {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let result = self.files.put(upload).await;
        self.stored.notify_one();
        self.acknowledge.notified().await;
        result
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.files.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.files.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.files.metadata(key).await
    }
}

impl BlobCatalog for Hanging {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.files.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.files.delete(key).await?;
        self.stored.notify_one();
        self.acknowledge.notified().await;
        Ok(())
    }
}

/// Neither an upload nor a deletion is reported between the store and the ledger.
#[tokio::test]
async fn waits_for_changes_that_are_not_recorded_yet() {
    let site = Site::new().await;
    let files = MemoryStore::new();
    let hanging = Arc::new(Hanging {
        files: files.clone(),
        stored: Notify::new(),
        acknowledge: Notify::new(),
    });
    let other = Recorded::new(files, site.ledger.clone());
    other.put(upload("a/other", "content")).await.unwrap();
    let store = Recorded::new(hanging.clone(), site.ledger.clone());
    for is_upload in [true, false] {
        let changing = store.clone();
        let change = tokio::spawn(async move {
            if is_upload {
                changing.put(upload("a/b", "content")).await.map(drop)
            } else {
                changing.delete(&key("a/b")).await
            }
        });
        hanging.stored.notified().await;
        let progress = |done: Verified| {
            let is_seen = if is_upload {
                done.listed == 2
            } else {
                done.compared == 2
            };
            if is_seen {
                hanging.acknowledge.notify_one();
            }
        };
        let found = |difference: Difference| async move { panic!("{difference:?}") };
        let done = store.verify(Verify::new().repair(true), found, progress).await.unwrap();
        assert_eq!(done.differences, 0);
        change.await.unwrap().unwrap();
        assert_eq!(site.ledger.file(&key("a/b")).await.unwrap().is_some(), is_upload);
    }
}
