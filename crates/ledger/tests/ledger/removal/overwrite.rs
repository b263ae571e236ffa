//! Uploads over a held file.

use futures_util::future::join_all;
use http::HeaderValue;
use kazoo_storage::{
    BlobCatalog as _, BlobStore as _, ErrorKind,
    kazoo_id::AttachmentKind,
    store::{Fault, Operation, Precondition},
};
use kazoo_storage_ledger::EventKind;

use super::{Site, content, drain, hold_account, key, metadata, names, upload};

const KEY: &str = "acc/202401-doc/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7.mp3";

#[tokio::test]
async fn other_content_is_stored_beside_a_held_file_once() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    hold_account(&site, "acc");
    store.put(upload(KEY, "old")).await.unwrap();
    assert_eq!(drain(&consumer).await, [(KEY.to_owned(), EventKind::Stored)]);
    for _ in 0..3 {
        store.put(upload(KEY, "new")).await.unwrap();
    }
    assert_eq!(content(&store, KEY).await, "old");
    let events = drain(&consumer).await;
    assert_eq!(events.len(), 1);
    let (sibling, kind) = &events[0];
    assert_eq!(*kind, EventKind::Stored);
    let digits = sibling.strip_prefix("acc/202401-doc/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7~");
    assert_eq!(digits.unwrap().strip_suffix(".mp3").unwrap().len(), 16);
    assert_eq!(content(&store, sibling).await, "new");
    let recorded = site.ledger.file(&key(sibling)).await.unwrap().unwrap();
    assert_eq!(recorded.kind, Some(AttachmentKind::Voicemail));
    // The same content with other metadata is another file.
    for _ in 0..2 {
        for json in [r#"{"a":1}"#, r#"{"a":2}"#] {
            store
                .put(upload(KEY, "old").with_metadata(metadata(json)))
                .await
                .unwrap();
        }
        let typed = upload(KEY, "old").with_content_type(HeaderValue::from_static("audio/mpeg"));
        store.put(typed).await.unwrap();
    }
    assert_eq!(names(&site.ledger).await.len(), 5);
    assert_eq!(site.ledger.file(&key(KEY)).await.unwrap().unwrap().metadata, None);
}

#[tokio::test]
async fn an_identical_upload_changes_nothing() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    hold_account(&site, "acc");
    let document = metadata(r#"{"call_id":"b3f6"}"#);
    let file = || upload(KEY, "old").with_metadata(document.clone());
    store.put(file()).await.unwrap();
    let before = site.ledger.file(&key(KEY)).await.unwrap();
    drain(&consumer).await;
    for result in join_all((0..8).map(|_| store.put(file()))).await {
        result.unwrap();
    }
    assert_eq!(site.ledger.file(&key(KEY)).await.unwrap(), before);
    assert_eq!(drain(&consumer).await, []);
    assert_eq!(names(&site.ledger).await, [KEY]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_attempts_of_an_upload_are_stored_once() {
    let site = Site::new().await;
    let store = site.store();
    hold_account(&site, "acc");
    store.put(upload(KEY, "old")).await.unwrap();
    let attempts = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.put(upload(KEY, "new")).await })
    });
    for attempt in join_all(attempts).await {
        attempt.unwrap().unwrap();
    }
    assert_eq!(names(&site.ledger).await.len(), 2);
    assert_eq!(content(&store, KEY).await, "old");
}

#[tokio::test]
async fn a_condition_applies_to_the_held_file() {
    let site = Site::new().await;
    let store = site.store();
    hold_account(&site, "acc");
    store.put(upload(KEY, "old")).await.unwrap();
    let absent = upload(KEY, "new").with_precondition(Precondition::if_absent());
    let error = store.put(absent).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    let etag = store.head(&key(KEY)).await.unwrap().etag.unwrap();
    let matching = upload(KEY, "new").with_precondition(Precondition::if_match(&etag));
    store.put(matching).await.unwrap();
    assert_eq!(content(&store, KEY).await, "old");
    assert_eq!(names(&site.ledger).await.len(), 2);
}

#[tokio::test]
async fn an_interrupted_upload_leaves_nothing_beside_a_held_file() {
    let site = Site::new().await;
    let store = site.store();
    hold_account(&site, "acc");
    store.put(upload(KEY, "old")).await.unwrap();
    let interrupted = kazoo_storage::Body::from_stream(futures_util::stream::iter([
        Ok("ID"),
        Err(kazoo_storage::Error::new(ErrorKind::IncompleteBody, "cut")),
    ]));
    let upload = kazoo_storage::Upload::new(key(KEY), interrupted);
    assert_eq!(store.put(upload).await.unwrap_err().kind(), ErrorKind::IncompleteBody);
    assert_eq!(names(&site.ledger).await, [KEY]);
    // New files are stored as usual.
    store
        .put(super::upload("acc/202401-doc/other.mp3", "new"))
        .await
        .unwrap();
    assert_eq!(names(&site.ledger).await.len(), 2);
}

#[tokio::test]
async fn a_held_file_that_the_store_has_lost_is_stored_again() {
    let site = Site::new().await;
    let files = super::shared();
    let store = kazoo_storage_ledger::Recorded::new(files.clone(), site.ledger.clone());
    hold_account(&site, "acc");
    store.put(upload(KEY, "old")).await.unwrap();
    files.delete(&key(KEY)).await.unwrap();
    store.put(upload(KEY, "old")).await.unwrap();
    assert_eq!(content(&files, KEY).await, "old");
    // The same with the file beside it.
    store.put(upload(KEY, "new")).await.unwrap();
    let beside = names(&site.ledger).await.into_iter().find(|name| name != KEY).unwrap();
    files.delete(&key(&beside)).await.unwrap();
    store.put(upload(KEY, "new")).await.unwrap();
    let beside = names(&site.ledger)
        .await
        .into_iter()
        .filter(|name| name != KEY && *name != beside);
    for name in beside {
        assert_eq!(content(&files, &name).await, "new");
    }
    assert_eq!(names(&site.ledger).await.len(), 3);
}

#[tokio::test]
async fn a_file_counts_as_stored_only_if_it_is_intact_and_stays() {
    for damage in ["other content", "unreadable", "being removed"] {
        let site = Site::new().await;
        let files = super::shared();
        let store = kazoo_storage_ledger::Recorded::new(files.clone(), site.ledger.clone());
        hold_account(&site, "acc");
        store.put(upload(KEY, "old")).await.unwrap();
        store.put(upload(KEY, "new")).await.unwrap();
        let beside = names(&site.ledger).await.into_iter().find(|name| name != KEY).unwrap();
        match damage {
            "other content" => drop(files.put(upload(&beside, "bad")).await.unwrap()),
            "unreadable" => {
                let damaged = kazoo_storage::Error::new(ErrorKind::Damaged, "damaged");
                files.inject([Operation::Head], Fault::Fail(damaged));
            }
            _ => site.execute(
                "INSERT INTO removals SELECT key, 'removal', event, 'operator', 'other', 0 FROM files WHERE size = 3",
            ),
        }
        store.put(upload(KEY, "new")).await.unwrap();
        assert_eq!(names(&site.ledger).await.len(), 3, "{damage}");
    }
}

#[tokio::test]
async fn an_upload_over_any_held_name_is_stored() {
    let site = Site::new().await;
    let store = site.store();
    hold_account(&site, "acc");
    for name in [
        format!("acc/202401-doc/a.{}", "x".repeat(1020)),
        format!("acc/{}/{}/ab.mp3", "o".repeat(1024), "d".repeat(2048 - 1024 - 12)),
    ] {
        assert!(name.len() >= 1024);
        let before = names(&site.ledger).await.len();
        store.put(upload(&name, "old")).await.unwrap();
        for _ in 0..2 {
            store.put(upload(&name, "new")).await.unwrap();
        }
        assert_eq!(content(&store, &name).await, "old");
        assert_eq!(names(&site.ledger).await.len(), before + 2);
    }
}

#[tokio::test]
async fn a_file_with_a_similar_name_is_no_copy() {
    let site = Site::new().await;
    let store = site.store();
    hold_account(&site, "acc");
    for (name, content) in [("fake", "old"), ("fake~mine", "new"), ("fake", "new"), ("fake", "new")] {
        let name = format!("acc/202401-doc/{name}.mp3");
        store.put(upload(&name, content)).await.unwrap();
    }
    assert_eq!(names(&site.ledger).await.len(), 3);
}
