//! The removal of many files, and what their events tell.

use std::time::Duration;

use kazoo_storage::{
    BlobStore as _, Error, ErrorKind,
    digest::Digest,
    store::{Fault, Operation},
};
use kazoo_storage_ledger::{
    EventKind, Recorded,
    events::{Replay, Selection},
    removal::{Cause, Removal},
};

use super::{Site, drain, hold_account, is_held, key, metadata, names, shared, upload};

#[tokio::test]
async fn removes_many_files_and_returns_the_result_of_each() {
    let site = Site::new().await;
    let store = site.store();
    let mut keys: Vec<_> = (0..300)
        .map(|number| {
            key(&format!(
                "{}/202401-doc/{number}.mp3",
                if number % 3 == 0 { "held" } else { "acc" }
            ))
        })
        .collect();
    for key in &keys {
        store.put(kazoo_storage::Upload::new(key.clone(), "ID3")).await.unwrap();
    }
    hold_account(&site, "held");
    keys.push(key("acc/202401-doc/missing"));
    keys.push(keys[1].clone());
    let results = store.remove(&keys, Cause::Retention).await;
    assert_eq!(results.len(), keys.len());
    for (number, result) in results.into_iter().enumerate() {
        match result.unwrap() {
            Removal::Removed(file) => {
                assert!(number < 300 && number % 3 != 0);
                assert_eq!(
                    (&file.key, file.size, file.sha256),
                    (&keys[number], 3, Some(Digest::of(b"ID3")))
                );
            }
            Removal::Absent => assert!(number >= 300),
            removal => assert!(number < 300 && number % 3 == 0 && is_held(&removal, "h-held")),
        }
    }
    assert_eq!(names(&site.ledger).await.len(), 100);
    assert_eq!(site.count("removals").await, 0);
}

#[tokio::test]
async fn no_removal_from_the_store_begins_long_after_its_intent() {
    let site = Site::sqlite().await;
    let files = shared();
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let keys: Vec<_> = (0..80)
        .map(|number| key(&format!("acc/202401-doc/{number:02}")))
        .collect();
    for key in &keys {
        store.put(kazoo_storage::Upload::new(key.clone(), "ID3")).await.unwrap();
    }
    tokio::time::pause();
    files.inject([Operation::Delete], Fault::Delay(Duration::from_secs(100)));
    let results = store.remove(&keys, Cause::Request).await;
    // 32 files are removed at once.
    let (removed, late): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!((removed.len(), late.len()), (64, 16));
    for error in late {
        assert!(error.unwrap_err().message().contains("took too long"));
    }
    assert_eq!(site.count("removals").await, 0);
    assert_eq!(names(&site.ledger).await.len(), 16);
}

#[tokio::test]
async fn a_failure_of_the_store_concerns_its_file_only_and_can_be_repeated() {
    let site = Site::new().await;
    let files = shared();
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let keys = ["acc/202401-doc/a", "acc/202401-doc/b"].map(key);
    store.put(upload("acc/202401-doc/a", "a")).await.unwrap();
    let down = || Fault::Fail(Error::new(ErrorKind::Unavailable, "down"));
    files.inject([Operation::Delete, Operation::Describe], down());
    for result in store.remove(&keys, Cause::Operator).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(site.count("removals").await, 0);
    files.repair();
    let results = store.remove(&keys, Cause::Operator).await;
    assert!(matches!(results[0], Ok(Removal::Removed(_))) && matches!(results[1], Ok(Removal::Absent)));
}

#[tokio::test]
async fn the_last_event_of_a_file_is_sent_again_after_a_failed_removal() {
    for is_replay in [false, true] {
        let (site, files) = (Site::new().await, shared());
        let consumer = site.ledger.consumer("test").await.unwrap();
        let store = Recorded::new(files.clone(), site.ledger.clone());
        store.put(upload("acc/202401-doc/a", "a")).await.unwrap();
        let job = consumer.try_next().await.unwrap().unwrap();
        let id = job.event().id.clone();
        assert!(job.bury("not audio").await.unwrap());
        let down = Error::new(ErrorKind::Unavailable, "down");
        files.inject([Operation::Delete], Fault::Fail(down));
        let result = store.remove(&[key("acc/202401-doc/a")], Cause::Operator).await;
        result.into_iter().next().unwrap().unwrap_err();
        if is_replay {
            let replayed = site
                .ledger
                .replay(Replay::since(std::time::SystemTime::UNIX_EPOCH), |_| ())
                .await
                .unwrap();
            assert_eq!(replayed.queued, 1);
        } else {
            let retried = site.ledger.retry(Selection::event(&id), false, |_| ()).await.unwrap();
            assert_eq!((retried.retried, retried.superseded), (1, 0));
        }
        let job = consumer.try_next().await.unwrap().unwrap();
        assert_eq!((&job.event().id, job.event().kind), (&id, EventKind::Stored));
        assert!(job.ack().await.unwrap());
        files.repair();
        store.remove(&[key("acc/202401-doc/a")], Cause::Operator).await;
        assert_eq!(
            drain(&consumer).await,
            [("acc/202401-doc/a".to_owned(), EventKind::Deleted)]
        );
    }
}

#[tokio::test]
async fn a_removal_whose_caller_is_gone_ends_before_a_later_upload() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let files = shared();
    let store = Recorded::new(files.clone(), site.ledger.clone());
    let keys = [key("acc/202401-doc/a")];
    store.put(upload("acc/202401-doc/a", "old")).await.unwrap();
    files.inject([Operation::Delete], Fault::Delay(Duration::from_millis(100)));
    let begun = async {
        while site.count("removals").await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = store.remove(&keys, Cause::Retention) => panic!("the store takes its time"),
        () = begun => {}
    }
    store.put(upload("acc/202401-doc/a", "new")).await.unwrap();
    assert_eq!(super::content(&files, "acc/202401-doc/a").await, "new");
    let kinds: Vec<_> = drain(&consumer).await.into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [EventKind::Stored, EventKind::Deleted, EventKind::Stored]);
}

#[tokio::test]
async fn an_erasure_leaves_no_numbers_in_the_events() {
    let site = Site::new().await;
    let consumer = site.ledger.consumer("test").await.unwrap();
    let store = site.store();
    let call = metadata(r#"{"call_id":"b3f6","caller_id_number":"+1312","to_user":"1001"}"#);
    for path in ["acc/202401-doc/a", "acc/202401-doc/b"] {
        store
            .put(upload(path, "ID3").with_metadata(call.clone()))
            .await
            .unwrap();
    }
    for (path, cause) in [
        ("acc/202401-doc/a", Cause::Erasure),
        ("acc/202401-doc/b", Cause::Retention),
    ] {
        assert!(matches!(
            store.remove(&[key(path)], cause).await[..],
            [Ok(Removal::Removed(_))]
        ));
    }
    let mut seen = Vec::new();
    while let Some(job) = consumer.try_next().await.unwrap() {
        let file = &job.event().file;
        let is_erased = file.metadata.is_none()
            && file.call_id.is_none()
            && file.caller_number.is_none()
            && file.callee_number.is_none();
        seen.push((file.key.attachment().to_owned(), job.event().kind, is_erased));
        job.ack().await.unwrap();
    }
    seen.sort_by_key(|(name, kind, _)| (name.clone(), kind.as_str()));
    let expected = [
        ("a", EventKind::Deleted, true),
        ("a", EventKind::Stored, true),
        ("b", EventKind::Deleted, false),
        ("b", EventKind::Stored, false),
    ];
    assert_eq!(
        seen,
        expected.map(|(name, kind, is_erased)| (name.to_owned(), kind, is_erased))
    );
    assert_eq!(drain(&consumer).await, []);
}
