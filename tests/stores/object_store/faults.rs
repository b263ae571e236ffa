//! Engines that hang, fail or hide something.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use kazoo_storage::{BlobCatalog as _, BlobStore, Body, ByteRange, ErrorKind, store::ObjectStoreBlobs};
use object_store::memory::InMemory;
use tokio::time::Instant;

use super::{
    faulty::{Fault, Faulty, Signs},
    key, read, upload,
};

#[tokio::test]
async fn aborts_an_interrupted_multipart_upload() {
    let long = "x".repeat(5_000);
    for fault in [Fault::None, Fault::PartFails(2), Fault::PartHangs(2)] {
        let engine = Faulty::new(fault);
        let mut store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
        if fault == Fault::PartHangs(2) {
            store = store.deadline(Duration::from_millis(500));
        }
        let body = if fault == Fault::None {
            super::faulty::breaks_after(5_000)
        } else {
            Body::from(long.clone())
        };
        let error = store.put(upload(body)).await.unwrap_err();
        let expected = if fault == Fault::None {
            ErrorKind::IncompleteBody
        } else {
            ErrorKind::Unavailable
        };
        assert_eq!(error.kind(), expected, "{fault:?}: {error}");
        engine.aborted().await;
        assert!(store.head(&key()).await.unwrap_err().is_not_found(), "{fault:?}");
    }
    // Dropped, as when KAZOO disconnects.
    let engine = Faulty::new(Fault::PartHangs(2));
    let store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
    let task = tokio::spawn(async move { store.put(upload(long)).await });
    engine.hanging().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    engine.aborted().await;
}

/// Some engines store half an object if an upload is aborted during completion.
#[tokio::test]
async fn does_not_abort_an_upload_that_may_be_complete() {
    for fault in [Fault::CompleteFails, Fault::CompleteHangs] {
        let engine = Faulty::new(fault);
        let mut store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
        if fault == Fault::CompleteHangs {
            store = store.deadline(Duration::from_millis(500));
        }
        let error = store.put(upload("x".repeat(5_000))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}: {error}");
        // Runs the background tasks.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!engine.calls().contains(&"abort"), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_ends_after_its_first_error() {
    for fault in [Fault::ListFails, Fault::Hangs] {
        let store = ObjectStoreBlobs::new(Faulty::new(fault));
        if fault == Fault::ListFails {
            store.put(upload("content")).await.unwrap();
        }
        let listed: Vec<_> = store.list(None).take(3).collect().await;
        assert!(matches!(listed[..], [Err(_)]), "{fault:?}: {listed:?}");
    }
}

/// Without the permission to list the bucket, S3 does not report a missing object.
#[tokio::test]
async fn detects_an_engine_that_hides_missing_objects() {
    let engine = Faulty::new(Fault::DeniesWhatIsMissing);
    let store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
    let error = store.check().await.unwrap_err();
    assert!(error.message().contains("s3:ListBucket"), "{error}");
    assert_eq!(engine.objects().await, [""; 0]);
    // Uploads do not need that permission.
    for content in ["short".to_owned(), "x".repeat(5_000)] {
        store.put(upload(content.clone())).await.unwrap();
        assert_eq!(read(&store).await.unwrap(), content);
    }
}

#[tokio::test]
async fn distinguishes_a_missing_bucket_from_a_missing_file() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::NoBucket));
    let redirecting = store.clone().redirect(Arc::new(Signs), Duration::from_secs(60));
    for error in [
        store.get(&key(), None).await.err(),
        store.get(&key(), Some(ByteRange::From(1))).await.err(),
        redirecting.get(&key(), None).await.err(),
        store.head(&key()).await.err(),
        store.metadata(&key()).await.err(),
        store.put(upload("content")).await.err(),
    ] {
        let error = error.expect("there is no bucket");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.message().contains("does not exist"), "{error}");
    }
}

#[tokio::test]
async fn reports_a_name_that_the_engine_refuses() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::RefusesName)).part_size(1000);
    for content in ["short".to_owned(), "x".repeat(5_000)] {
        let error = store.put(upload(content)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reports_a_hanging_engine_at_the_deadline() {
    let deadline = Duration::from_secs(30);
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::Hangs));
    let begun = Instant::now();
    for error in [
        store.put(upload("content")).await.err(),
        store.get(&key(), None).await.err(),
        store.get(&key(), Some(ByteRange::From(1))).await.err(),
        store.head(&key()).await.err(),
        store.metadata(&key()).await.err(),
        store.delete(&key()).await.err(),
    ] {
        let error = error.expect("an engine that hangs is an error");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().ends_with("within 30s"), "{error}");
    }
    assert_eq!(begun.elapsed(), deadline * 6);
    let begun = Instant::now();
    let (one, two) = tokio::join!(store.check(), store.check());
    assert!(one.is_err() && two.is_err());
    assert_eq!(
        begun.elapsed(),
        deadline,
        "a check has one deadline, whatever it asks the engine"
    );
}

#[tokio::test(start_paused = true)]
async fn fails_a_hanging_body_at_the_deadline() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::BodyHangs));
    store.put(upload("content")).await.unwrap();
    let begun = Instant::now();
    let error = read(&store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(begun.elapsed(), ObjectStoreBlobs::DEFAULT_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn does_not_count_the_time_of_the_client() {
    let store = ObjectStoreBlobs::new(InMemory::new()).part_size(100);
    let pause = ObjectStoreBlobs::DEFAULT_DEADLINE * 2;
    store
        .put(upload(super::faulty::slow(vec![50; 10], pause)))
        .await
        .unwrap();
    let mut body = store.get(&key(), None).await.unwrap().into_blob().unwrap().body;
    tokio::time::sleep(pause).await;
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 500);
    tokio::time::sleep(pause).await;
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn detects_a_wrong_number_of_bytes() {
    for fault in [Fault::GivesLess, Fault::GivesMore] {
        let store = ObjectStoreBlobs::new(Faulty::new(fault));
        store.put(upload("content")).await.unwrap();
        let error = read(&store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{fault:?}");
        assert!(error.message().contains("bytes than it announced"), "{error}");
    }
}

#[tokio::test]
async fn detects_an_engine_without_attributes() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::DropsAttributes));
    let error = store.check().await.unwrap_err();
    assert!(error.message().contains("attributes"), "{error}");
}
