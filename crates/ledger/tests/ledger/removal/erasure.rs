//! What an erasure removes, keeps and reports.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use kazoo_storage::{BlobCatalog as _, BlobStore as _, ErrorKind};
use kazoo_storage_ledger::{
    Recorded, Reindex,
    protection::Protection,
    removal::{Erased, Kept, Subject},
};

use super::{Shared, Site, drain, hold_account, key, metadata, names, shared, upload};

async fn erase(store: &Recorded<Shared>, subject: Subject, is_dry: bool) -> BTreeMap<String, Erased> {
    let mut erasure = store.erasure(subject, is_dry).await.unwrap();
    let mut all = BTreeMap::new();
    while let Some(batch) = erasure.next().await.unwrap() {
        assert!(!batch.is_empty() && batch.len() <= 256);
        for erased in batch {
            assert!(all.insert(erased.file.key.to_string(), erased).is_none());
        }
    }
    assert!(erasure.next().await.unwrap().is_none());
    all
}

async fn site() -> (Site, Shared, Recorded<Shared>) {
    let site = Site::new().await;
    let files = shared();
    let store = Recorded::new(files.clone(), site.ledger.clone());
    site.ledger.reindex(&files, Reindex::new(), |_| {}).await.unwrap();
    (site, files, store)
}

#[tokio::test]
async fn an_account_is_erased_from_store_and_ledger_but_for_its_held_files() {
    let (site, files, store) = site().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let call = metadata(r#"{"call_id":"b3f6","caller_id_number":"+1312"}"#);
    for number in 0..300 {
        let path = format!("acc/202401-doc/{number}");
        let upload = kazoo_storage::Upload::new(key(&path), "ID3").with_metadata(call.clone());
        store.put(upload).await.unwrap();
    }
    store
        .put(upload("acc/202401-held/1", "ID3").with_metadata(call.clone()))
        .await
        .unwrap();
    store
        .put(upload("other/202401-doc/1", "ID3").with_metadata(call.clone()))
        .await
        .unwrap();
    // A file that was removed before has its events, and the ledger does not know another one.
    store.delete(&key("acc/202401-doc/0")).await.unwrap();
    files.put(upload("acc/202401-doc/unrecorded", "ID3")).await.unwrap();
    site.execute("INSERT INTO deletion_requests VALUES ('acc', '202401-doc', 'voicemail', 1, 2)");
    site.execute(
        "INSERT INTO holds (id, reason, author, created_at, account, document) \
         VALUES ('h', 'case 7', 'legal', 1, 'acc', '202401-held')",
    );

    let account = || Subject::Account("acc".to_owned());
    let planned = erase(&store, account(), true).await;
    assert_eq!(planned.len(), 301);
    assert!(planned.values().all(|erased| erased.removed_at.is_none()));
    assert_eq!(names(&site.ledger).await.len(), 301);
    assert_eq!(site.count("deletion_requests").await, 1);

    let erased = erase(&store, account(), false).await;
    assert_eq!(erased.keys().collect::<Vec<_>>(), planned.keys().collect::<Vec<_>>());
    for (name, erased) in &erased {
        let is_held = name == "acc/202401-held/1";
        assert_eq!(erased.removed_at.is_some(), !is_held);
        assert_eq!(
            matches!(&erased.kept, Some(Kept::Protected(Protection::Hold { reason, .. })) if reason == "case 7"),
            is_held
        );
        assert_eq!((erased.file.size, &erased.file.metadata), (3, &None));
    }
    assert_eq!(names(&site.ledger).await, ["acc/202401-held/1", "other/202401-doc/1"]);
    assert!(
        files
            .head(&key("acc/202401-doc/unrecorded"))
            .await
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(site.count("deletion_requests").await, 0);
    // All events are delivered, and tell of calls only if their files exist.
    let mut deleted = 0;
    while let Some(job) = consumer.try_next().await.unwrap() {
        let (event, file) = (job.event(), &job.event().file);
        let is_kept = file.key.document_id() == Some("202401-held") || file.key.account_id() == Some("other");
        assert_eq!(
            file.metadata.is_some() && file.caller_number.is_some() && file.call_id.is_some(),
            is_kept
        );
        assert_eq!(
            file.metadata.is_none() && file.caller_number.is_none() && file.call_id.is_none(),
            !is_kept
        );
        deleted += u32::from(event.kind == kazoo_storage_ledger::EventKind::Deleted);
        job.ack().await.unwrap();
    }
    assert_eq!(deleted, 301);
    // A second run finds only what is held.
    let again = erase(&store, account(), false).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), ["acc/202401-held/1"]);
    assert!(again.values().all(|erased| erased.kept.is_some()));
    assert_eq!(drain(&consumer).await, []);
}

#[tokio::test]
async fn a_number_is_erased_in_every_account() {
    let (site, files, store) = site().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let from = metadata(r#"{"caller_id_number":"+1312"}"#);
    let to = metadata(r#"{"to_user":"+1312"}"#);
    let others = metadata(r#"{"caller_id_number":"+1313"}"#);
    for (path, document) in [
        ("a/202401-d/1", &from),
        ("b/202401-d/2", &to),
        ("b/202401-d/3", &others),
    ] {
        store
            .put(upload(path, "ID3").with_metadata(document.clone()))
            .await
            .unwrap();
    }
    store
        .put(upload("held/202401-d/4", "ID3").with_metadata(from.clone()))
        .await
        .unwrap();
    // An earlier version of a file had the number.
    store
        .put(upload("a/202401-d/5", "old").with_metadata(to.clone()))
        .await
        .unwrap();
    store
        .put(upload("a/202401-d/5", "new").with_metadata(others.clone()))
        .await
        .unwrap();
    hold_account(&site, "held");
    let number = || Subject::Number("+1312".to_owned());
    assert_eq!(erase(&store, number(), true).await.len(), 3);
    let erased = erase(&store, number(), false).await;
    assert_eq!(erased.values().filter(|erased| erased.removed_at.is_some()).count(), 2);
    assert_eq!(
        names(&site.ledger).await,
        ["a/202401-d/5", "b/202401-d/3", "held/202401-d/4"]
    );
    assert_eq!(files.list(None).count().await, 3);
    let mut left = Vec::new();
    while let Some(job) = consumer.try_next().await.unwrap() {
        let file = &job.event().file;
        if [&file.caller_number, &file.callee_number].contains(&&Some("+1312".to_owned())) {
            left.push(file.key.to_string());
        }
        job.ack().await.unwrap();
    }
    assert_eq!(left, ["held/202401-d/4"]);
    let again = erase(&store, number(), false).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), ["held/202401-d/4"]);
}

#[tokio::test]
async fn refuses_a_ledger_that_may_lack_files() {
    let site = Site::new().await;
    let store = site.store();
    for (subject, kind) in [
        (Subject::Account("acc".to_owned()), ErrorKind::Conflict),
        (Subject::Number(String::new()), ErrorKind::InvalidRequest),
    ] {
        assert_eq!(store.erasure(subject, false).await.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn the_deletion_of_a_kept_file_stays_requested() {
    let (site, _, store) = site().await;
    for path in [
        "acc/202401-doc/1",
        "acc/202401-held/1",
        "acc/owner/202401-held2/1",
        "other/202401-doc/1",
    ] {
        store.put(upload(path, "ID3")).await.unwrap();
    }
    for document in ["202401-held", "202401-held2"] {
        site.execute(&format!(
            "INSERT INTO holds (id, reason, author, created_at, account, document) \
             VALUES ('{document}', 'case 7', 'legal', 1, 'acc', '{document}')"
        ));
    }
    for document in ["202401-doc", "202401-hel", "202401-held", "202401-held2", "none"] {
        site.ledger.request_deletion("acc", document, "fax").await.unwrap();
    }
    site.ledger
        .request_deletion("other", "202401-doc", "fax")
        .await
        .unwrap();
    let erased = erase(&store, Subject::Account("acc".to_owned()), false).await;
    assert_eq!(erased.values().filter(|erased| erased.kept.is_some()).count(), 2);
    let requests = site.ledger.deletion_requests(None, 9).await.unwrap();
    let mut requests: Vec<_> = requests
        .iter()
        .map(|request| format!("{}/{}", request.account, request.document))
        .collect();
    requests.sort();
    assert_eq!(requests, ["acc/202401-held", "acc/202401-held2", "other/202401-doc"]);
}
