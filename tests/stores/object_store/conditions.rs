//! Conditional uploads.

use std::time::Duration;

use kazoo_storage::{
    BlobStore, Body, ErrorKind, PutResult, Upload,
    store::{ObjectStoreBlobs, Precondition},
};

use super::{
    faulty::{Fault, Faulty},
    key, name, read, upload,
};

fn creation(content: impl Into<Body>) -> Upload {
    upload(content).with_precondition(Precondition::if_absent())
}

#[tokio::test]
async fn stores_a_conditional_upload_with_one_conditional_put() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone());
    assert_eq!(store.put(creation("first")).await.unwrap(), PutResult::Created);
    // Only the first one tests the engine.
    assert_eq!(
        engine.calls(),
        ["put", "put", "put", "put", "put", "delete", "head", "get", "put"]
    );
    assert_eq!(engine.objects().await, [name().to_string()]);
    let etag = store.head(&key()).await.unwrap().etag.unwrap();
    engine.calls();
    let update = upload("second").with_precondition(Precondition::if_match(&etag));
    assert_eq!(store.put(update).await.unwrap(), PutResult::Replaced);
    assert_eq!(engine.calls(), ["head", "put"]);
    let error = store.put(creation("third")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(engine.calls(), ["head"]);
    assert_eq!(read(&store).await.unwrap(), "second");
}

/// The engine stores an upload only on the version for which the condition was evaluated.
#[tokio::test]
async fn leaves_the_decision_on_a_condition_to_the_engine() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::Rival));
    let error = store.put(creation("new")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
    assert_eq!(read(&store).await.unwrap(), "rival");
    store.put(upload("old")).await.unwrap();
    assert_eq!(read(&store).await.unwrap(), "old");
    let etag = store.head(&key()).await.unwrap().etag.unwrap();
    let update = upload("new").with_precondition(Precondition::if_match(&etag));
    let error = store.put(update).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{error:?}");
    assert_eq!(read(&store).await.unwrap(), "rival");
}

#[tokio::test]
async fn refuses_a_condition_that_the_engine_does_not_enforce() {
    for fault in [Fault::NoConditions, Fault::IgnoresConditions] {
        let engine = Faulty::new(fault);
        let store = ObjectStoreBlobs::new(engine.clone());
        for _ in 0..2 {
            let error = store.put(creation("content")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{fault:?}: {error}");
            assert!(error.message().contains("if-none-match"), "{error}");
            assert_eq!(engine.objects().await, [""; 0], "{fault:?}");
        }
        store.put(upload("content")).await.unwrap();
    }
}

#[tokio::test]
async fn refuses_a_conditional_upload_over_one_part() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
    for len in [None, Some(1001)] {
        let mut long = creation("x".repeat(1001));
        long.len = len;
        let error = store.put(long).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        assert!(error.message().contains("1000 bytes"), "{error}");
        assert_eq!(engine.objects().await, [""; 0]);
        assert_eq!(engine.calls(), [""; 0]);
    }
    store.put(creation("x".repeat(1000))).await.unwrap();
}

/// A retry must not fail because its own object exists.
#[tokio::test]
async fn recognizes_its_own_upload_after_a_lost_response() {
    for fault in [Fault::LostAnswerToUpload, Fault::StoresAndHangs, Fault::Repeats] {
        let engine = Faulty::new(fault);
        let store = ObjectStoreBlobs::new(engine.clone());
        let store = match fault {
            Fault::StoresAndHangs => store.deadline(Duration::from_millis(500)),
            _ => store,
        };
        assert_eq!(
            store.put(creation("content")).await.unwrap(),
            PutResult::Created,
            "{fault:?}"
        );
        assert_eq!(read(&store).await.unwrap(), "content");
        let error = store.put(creation("another")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{fault:?}");
        assert_eq!(read(&store).await.unwrap(), "content");
    }
}
