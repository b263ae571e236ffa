//! The conditions of holds, and what a new hold waits for.

use std::time::{Duration, SystemTime};

use kazoo_storage::{
    BlobCatalog as _, BlobStore as _, Body, ErrorKind, MemoryStore,
    store::{Fault, Operation},
};
use kazoo_storage_ledger::{
    Recorded,
    holds::NewHold,
    removal::{Cause, Removal},
};

use super::{Site, content, hold, hold_account, is_held, key, metadata, names, server, shared, upload};

const KEY: &str = "acc/owner/202401-doc/message.mp3";

#[tokio::test]
async fn nobody_removes_a_held_file() {
    let site = Site::new().await;
    let store = site.store();
    store.put(upload(KEY, "ID3")).await.unwrap();
    let added = site.ledger.add_hold(hold().account("acc")).await.unwrap();
    assert!(added.is_settled && added.removed.is_empty());
    let error = store.delete(&key(KEY)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    for named in [&*added.hold.id, "case 7"] {
        assert!(error.message().contains(named), "{error}");
    }
    for cause in [Cause::Retention, Cause::Erasure, Cause::Request] {
        let removed = store.remove(&[key(KEY)], cause).await.pop().unwrap().unwrap();
        assert!(is_held(&removed, &added.hold.id), "{removed:?}");
    }
    assert_eq!(content(&store, KEY).await, "ID3");
    for holds in [site.ledger.holds().await, site.ledger.holds_of(&key(KEY)).await] {
        assert_eq!(holds.unwrap(), std::slice::from_ref(&added.hold));
    }

    assert_eq!(site.ledger.remove_hold("unknown").await.unwrap(), None);
    let removed = site.ledger.remove_hold(&added.hold.id).await.unwrap();
    assert_eq!(removed, Some(added.hold));
    store.delete(&key(KEY)).await.unwrap();
    assert_eq!(names(&site.ledger).await, [""; 0]);
}

#[tokio::test]
async fn a_hold_keeps_the_files_that_satisfy_all_conditions() {
    let site = Site::new().await;
    let store = site.store();
    let stored = SystemTime::now();
    let (before, after) = (stored - Duration::from_secs(60), stored + Duration::from_secs(60));
    let call = metadata(r#"{"call_id":"b3f6","caller_id_number":"+1312","to_user":"1001"}"#);
    let keys = |hold: NewHold, holds: bool| (hold, holds);
    for (new, holds) in [
        keys(hold().account("acc"), true),
        keys(hold().account("other"), false),
        keys(hold().account("acc").document("202401-doc"), true),
        keys(hold().account("acc").document("202401-other"), false),
        keys(hold().key(&key(KEY)), true),
        keys(hold().key(&key("acc/202401-doc/message.mp3")), false),
        keys(hold().number("+1312"), true),
        keys(hold().number("1001"), true),
        keys(hold().number("1312"), false),
        keys(hold().call_id("b3f6"), true),
        keys(hold().call_id("b3f7"), false),
        keys(hold().since(before).until(after), true),
        keys(hold().since(after), false),
        keys(hold().until(before), false),
        keys(hold().account("acc").call_id("b3f7"), false),
        keys(hold().account("other").number("1001"), false),
    ] {
        let shown = format!("{:?}", site.ledger.holds().await.unwrap());
        assert_eq!(shown, "[]");
        // A file is held also if it is stored after the hold.
        let id = insert(&site, new).await;
        store.put(upload(KEY, "ID3").with_metadata(call.clone())).await.unwrap();
        let removed = store.remove(&[key(KEY)], Cause::Operator).await.pop().unwrap().unwrap();
        match removed {
            Removal::Removed(_) => assert!(!holds),
            removed => assert!(holds && is_held(&removed, &id)),
        }
        site.ledger.remove_hold(&id).await.unwrap().unwrap();
        store.delete(&key(KEY)).await.unwrap();
    }
}

/// Adds the hold, and does not wait for what began before.
async fn insert(site: &Site, new: NewHold) -> String {
    let adding = tokio::time::timeout(Duration::from_millis(200), site.ledger.add_hold(new));
    assert!(adding.await.is_err());
    site.ledger.holds().await.unwrap().pop().unwrap().id
}

#[tokio::test]
async fn refuses_holds_without_conditions_or_with_invalid_ones() {
    let site = Site::new().await;
    let now = SystemTime::now();
    for (invalid, reason) in [
        (hold(), "condition"),
        (hold().document("d"), "account"),
        (hold().account(""), "account"),
        (hold().number("a\u{1b}b"), "number"),
        (hold().call_id("x".repeat(256)), "call_id"),
        (hold().since(now).until(now), "since"),
        (NewHold::new(" ", "legal").account("a"), "reason"),
        (NewHold::new("case 7", "").account("a"), "author"),
    ] {
        let error = site.ledger.add_hold(invalid).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains(reason), "{error}");
    }
    assert_eq!(site.ledger.holds().await.unwrap(), []);
}

#[tokio::test]
async fn a_hold_counts_on_every_server_when_it_is_added() {
    let site = Site::new().await;
    let files = shared();
    let first = Recorded::new(files.clone(), site.ledger.clone());
    let second = server(&site, files.clone()).await;
    first.put(upload(KEY, "old")).await.unwrap();
    // The second server reads the holds, of which there are none.
    second.put(upload("acc/202401-doc/other", "other")).await.unwrap();
    let added = site.ledger.add_hold(hold().account("acc")).await.unwrap();
    assert!(added.is_settled);
    second.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&files, KEY).await, "old");
    assert_eq!(second.delete(&key(KEY)).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(names(&site.ledger).await.len(), 3);
}

#[tokio::test]
async fn a_hold_waits_for_the_removals_that_began_before() {
    let site = Site::new().await;
    let files = shared();
    let store = Recorded::new(files.clone(), site.ledger.clone());
    for path in ["acc/202401-doc/a", "acc/202401-doc/b"] {
        store.put(upload(path, "old")).await.unwrap();
    }
    files.inject([Operation::Delete], Fault::Delay(Duration::MAX));
    let removal = tokio::spawn(async move { store.delete(&key("acc/202401-doc/a")).await });
    while site.count("removals").await == 0 {
        tokio::task::yield_now().await;
    }
    // Another server adds the hold, and so knows nothing of the removal.
    let other = site.open_again().await;
    let adding = tokio::spawn(async move { other.add_hold(hold().account("acc")).await });
    while site.count("holds").await == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!adding.is_finished());
    // The removal ends.
    site.execute("DELETE FROM files WHERE document = '202401-doc' AND attachment = 'a'; DELETE FROM removals");
    let added = adding.await.unwrap().unwrap();
    assert!(added.is_settled);
    assert_eq!(added.removed, [key("acc/202401-doc/a")]);
    assert_eq!(names(&site.ledger).await, ["acc/202401-doc/b"]);
    removal.abort();
}

#[tokio::test]
async fn an_upload_that_a_hold_overtakes_is_sent_again_and_stored_beside() {
    let site = Site::new().await;
    let store = site.store();
    store.put(upload(KEY, "old")).await.unwrap();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let body = futures_util::stream::unfold((0, Some(ended)), async |(number, ended)| match (number, ended) {
        (0, ended) => Some((Ok::<_, kazoo_storage::Error>("new"), (1, ended))),
        (_, Some(ended)) => {
            let _ = ended.await;
            None
        }
        _ => None,
    });
    let running = tokio::spawn({
        let store = store.clone();
        async move {
            let upload = kazoo_storage::Upload::new(key(KEY), Body::from_stream(body));
            store.put(upload).await
        }
    });
    while site.ledger.add_hold(hold().account("acc")).await.is_err() {}
    end.send(()).unwrap();
    let error = running.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.retry_after().is_some());
    store.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&store, KEY).await, "old");
    assert_eq!(names(&site.ledger).await.len(), 2);
}

#[tokio::test]
async fn a_file_that_only_the_store_has_is_held_too() {
    let site = Site::new().await;
    let files = MemoryStore::new();
    let call = metadata(r#"{"caller_id_number":"+1312"}"#);
    files.put(upload(KEY, "old").with_metadata(call)).await.unwrap();
    let store = Recorded::new(std::sync::Arc::new(files), site.ledger.clone());
    let id = insert(&site, hold().number("+1312")).await;
    let removed = store.remove(&[key(KEY)], Cause::Operator).await.pop().unwrap().unwrap();
    assert!(is_held(&removed, &id), "{removed:?}");
    store.put(upload(KEY, "new")).await.unwrap();
    assert_eq!(content(&store, KEY).await, "old");
}

#[tokio::test]
async fn a_damaged_file_that_only_the_store_has_is_kept_by_a_hold_that_may_be_meant() {
    let site = Site::new().await;
    let files = shared();
    files.put(upload(KEY, "old")).await.unwrap();
    let damaged = kazoo_storage::Error::new(ErrorKind::Damaged, "damaged");
    files.inject([Operation::Describe], Fault::Fail(damaged));
    let store = Recorded::new(files.clone(), site.ledger.clone());
    hold_account(&site, "other");
    let id = insert(&site, hold().account("acc").number("+1312")).await;
    let removed = store.remove(&[key(KEY)], Cause::Operator).await.pop().unwrap().unwrap();
    assert!(is_held(&removed, &id), "{removed:?}");
    site.ledger.remove_hold(&id).await.unwrap().unwrap();
    store.delete(&key(KEY)).await.unwrap();
    files.repair();
    assert!(files.head(&key(KEY)).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_hold_counts_its_files_by_each_condition() {
    let site = Site::new().await;
    let store = Recorded::new(shared(), site.ledger.clone());
    let document = metadata(r#"{"call_id":"b3f6","caller_id_number":"+1312"}"#);
    store
        .put(upload("acc/doc/1", "1").with_metadata(document))
        .await
        .unwrap();
    store.put(upload("other/doc/2", "2")).await.unwrap();
    let hour = Duration::from_secs(3600);
    let (before, after) = (SystemTime::now() - hour, SystemTime::now() + hour);
    let holds = [
        (hold().key(&key("acc/doc/1")), 1),
        (hold().account("acc"), 1),
        (hold().account("acc").document("doc"), 1),
        (hold().number("+1312"), 1),
        (hold().call_id("b3f6"), 1),
        (hold().since(before).until(after), 2),
        (hold().since(after), 0),
    ];
    // Each takes two seconds.
    let added = holds.map(async |(new, files)| (site.ledger.add_hold(new).await.unwrap().files, Some(files)));
    for (counted, files) in futures_util::future::join_all(added).await {
        assert_eq!(counted, files);
    }
}
