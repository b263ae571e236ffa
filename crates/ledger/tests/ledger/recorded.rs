//! A recorded store is a store, and records what it does.

use std::time::{Duration, SystemTime};

use futures_util::{future::join_all, stream};
use http::HeaderValue;
use kazoo_storage::{
    BlobCatalog as _, BlobStore as _, Body, Error, ErrorKind, MemoryStore, Result, Upload, catalog_conformance_tests,
    conformance_tests,
    digest::Digest,
    kazoo_id::AttachmentKind,
    store::{Fault, FaultyStore, Operation},
};
use kazoo_storage_ledger::{EventKind, Recorded};

use super::{Site, drain, key, metadata, upload};

async fn recorded() -> (Recorded<MemoryStore>, Site) {
    let site = Site::new().await;
    (site.store(), site)
}

conformance_tests!(memory, recorded);
catalog_conformance_tests!(memory_catalog, recorded);

const KEY: &str = "ACC/OWNER/202401-DOC/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7.mp3";

#[tokio::test]
async fn records_every_field_of_the_file() {
    let site = Site::new().await;
    let document = metadata(
        r#"{"source_type":"voicemail","metadata":{"call_id":"b3f6","caller_id_number":"+1312","to_user":"1001"}}"#,
    );
    let before = SystemTime::now() - Duration::from_millis(1);
    let upload = upload(KEY, "ID3")
        .with_metadata(document.clone())
        .with_content_type(HeaderValue::from_static("audio/mpeg"));
    site.store().put(upload).await.unwrap();

    let file = site.ledger.file(&key(KEY)).await.unwrap().unwrap();
    assert_eq!(file.key, key(KEY));
    assert_eq!((file.kind, file.size), (Some(AttachmentKind::Voicemail), 3));
    assert_eq!(file.sha256, Some(Digest::of(b"ID3")));
    assert_eq!(file.content_type.as_deref(), Some("audio/mpeg"));
    assert!(file.stored_at >= before && file.stored_at <= SystemTime::now());
    assert_eq!(file.metadata, Some(document));
    assert_eq!(file.call_id.as_deref(), Some("b3f6"));
    assert_eq!(file.caller_number.as_deref(), Some("+1312"));
    assert_eq!(file.callee_number.as_deref(), Some("1001"));
}

#[tokio::test]
async fn leaves_out_values_that_no_index_takes() {
    let site = Site::new().await;
    let long = format!(
        r#"{{"call_id":"{}","from_number":"a\u0000b","to_number":7}}"#,
        "x".repeat(256)
    );
    let document = kazoo_storage::Metadata::from_json(long).unwrap();
    site.store()
        .put(upload(KEY, "ID3").with_metadata(document.clone()))
        .await
        .unwrap();
    let file = site.ledger.file(&key(KEY)).await.unwrap().unwrap();
    assert_eq!(
        (file.call_id, file.caller_number, file.callee_number),
        (None, None, None)
    );
    assert_eq!(file.metadata, Some(document));
}

#[tokio::test]
async fn records_names_of_any_bytes_and_length() {
    let site = Site::new().await;
    let longest = ["é".repeat(512), "/".repeat(512), "'%_\u{7f5e}\"".repeat(30)].join("");
    for key in [
        key("a%2Fb/c"),
        key("a/b%2Fc"),
        key("a/%20/'; DROP TABLE files; --"),
        kazoo_storage::BlobKey::from_segments([&longest[..1024], &longest[1024..]]).unwrap(),
    ] {
        let store = site.store();
        store.put(Upload::new(key.clone(), "x")).await.unwrap();
        assert_eq!(site.ledger.file(&key).await.unwrap().unwrap().key, key);
        store.delete(&key).await.unwrap();
        assert_eq!(site.ledger.file(&key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn stores_nothing_if_the_store_fails() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let faulty = FaultyStore::new(MemoryStore::new());
    let store = Recorded::new(faulty.clone(), site.ledger.clone());
    faulty.inject(Operation::ALL, Fault::Fail(Error::new(ErrorKind::StorageFull, "full")));
    assert_eq!(
        store.put(upload(KEY, "ID3")).await.unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    faulty.repair();
    let interrupted = Body::from_stream(stream::iter([
        Ok("ID"),
        Err(Error::new(ErrorKind::IncompleteBody, "cut")),
    ]));
    store.put(Upload::new(key(KEY), interrupted)).await.unwrap_err();
    assert_eq!(site.ledger.file(&key(KEY)).await.unwrap(), None);
    assert!(consumer.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn keeps_the_file_if_the_store_does_not_delete_it() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let faulty = FaultyStore::new(MemoryStore::new());
    let store = Recorded::new(faulty.clone(), site.ledger.clone());
    store.put(upload(KEY, "ID3")).await.unwrap();
    faulty.inject(
        [Operation::Delete],
        Fault::Fail(Error::new(ErrorKind::Unavailable, "down")),
    );
    store.delete(&key(KEY)).await.unwrap_err();
    assert!(store.head(&key(KEY)).await.is_ok());
    assert!(site.ledger.file(&key(KEY)).await.unwrap().is_some());
    faulty.repair();
    store.delete(&key(KEY)).await.unwrap();
    assert_eq!(site.ledger.file(&key(KEY)).await.unwrap(), None);
    assert_eq!(
        drain(&consumer).await,
        [EventKind::Stored, EventKind::Deleted].map(|kind| (KEY.to_owned(), kind))
    );
}

#[tokio::test]
async fn is_unavailable_while_the_ledger_fails_and_recovers_without_help() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    store.put(upload("old", "old")).await.unwrap();
    consumer.try_next().await.unwrap().unwrap().ack().await.unwrap();
    let refused = [("INSERT", "files"), ("DELETE", "files"), ("UPDATE", "state")];
    for (operation, table) in refused {
        site.refuse(operation, table, None);
    }
    for error in [
        store.put(upload(KEY, "ID3")).await.map(drop),
        store.delete(&key("old")).await,
        store.check().await,
    ] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(
            error.retry_after().is_some() && error.message().contains("ledger"),
            "{error}"
        );
    }
    for (operation, table) in refused {
        site.accept(operation, table);
    }
    // The client sends both again.
    store.put(upload(KEY, "ID3")).await.unwrap();
    store.delete(&key("old")).await.unwrap();
    store.check().await.unwrap();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let job = consumer.try_next().await.unwrap().unwrap();
        kinds.push((job.event().file.key.to_string(), job.event().kind));
        job.ack().await.unwrap();
    }
    assert_eq!(
        kinds,
        [
            (KEY.to_owned(), EventKind::Stored),
            ("old".to_owned(), EventKind::Deleted)
        ]
    );
}

#[tokio::test]
async fn one_bad_row_does_not_fail_the_others_of_its_commit() {
    let site = Site::new().await;
    site.refuse("INSERT", "files", Some("NEW.size = 3"));
    let store = site.store();
    let uploads = (0..64).map(|number| {
        let store = &store;
        async move {
            let content = if number % 8 == 0 { "bad" } else { "good" };
            store
                .put(Upload::new(key(&format!("a/{number}")), content))
                .await
                .map(drop)
        }
    });
    let results: Vec<Result<()>> = join_all(uploads).await;
    for (number, result) in results.into_iter().enumerate() {
        assert_eq!(result.is_err(), number % 8 == 0, "{number}");
        let known = site.ledger.file(&key(&format!("a/{number}"))).await.unwrap();
        assert_eq!(known.is_none(), number % 8 == 0, "{number}");
    }
}

/// Uploads and deletions of one key race; the ledger must agree with the store after each round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agrees_with_the_store_after_concurrent_changes_of_a_key() {
    let site = Site::new().await;
    let store = site.store();
    for round in 0..100 {
        let changes = (0..4).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                if number == 3 {
                    return store.delete(&key("a/b")).await;
                }
                let content = format!("{round}-{number}");
                store.put(Upload::new(key("a/b"), content)).await.map(drop)
            })
        });
        for change in join_all(changes).await {
            change.unwrap().unwrap();
        }
        let stored = store.head(&key("a/b")).await.ok().and_then(|info| info.etag);
        let known = site.ledger.file(&key("a/b")).await.unwrap();
        assert_eq!(stored.is_some(), known.is_some(), "round {round}");
        if let Some(file) = known {
            let content = content(&store).await;
            assert_eq!(file.sha256, Some(Digest::of(&content)), "round {round}");
        }
    }
}

async fn content(store: &Recorded<MemoryStore>) -> Vec<u8> {
    use http_body_util::BodyExt as _;
    let blob = store.get(&key("a/b"), None).await.unwrap().into_blob().unwrap();
    blob.body.collect().await.unwrap().to_bytes().to_vec()
}

#[tokio::test]
async fn a_stalled_upload_does_not_block_the_same_upload() {
    let site = Site::new().await;
    let store = site.store();
    let stalled = Body::from_stream(futures_util::StreamExt::chain(
        stream::iter([Ok::<_, Error>("ID")]),
        stream::pending(),
    ));
    let first = tokio::spawn({
        let store = store.clone();
        async move { store.put(Upload::new(key(KEY), stalled)).await }
    });
    tokio::task::yield_now().await;
    store.put(upload(KEY, "ID3")).await.unwrap();
    first.abort();
    assert_eq!(site.ledger.file(&key(KEY)).await.unwrap().unwrap().size, 3);
}
