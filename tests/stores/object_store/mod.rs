//! `ObjectStoreBlobs` on working and on faulty engines.

mod faulty;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobCatalog as _, BlobKey, BlobStore, Body, ByteRange, ErrorKind, Fetched, Metadata, Result, Stored, Upload,
    catalog_conformance_tests, conformance_tests,
    store::{ObjectStoreBlobs, Precondition},
};
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _, PutOptions, PutPayload, memory::InMemory, path::Path};
use tokio::time::Instant;

use self::faulty::{Fault, Faulty, Signs};

conformance_tests!(objects, || async { (ObjectStoreBlobs::new(InMemory::new()), ()) });
conformance_tests!(objects_in_small_parts, || async {
    let store = ObjectStoreBlobs::new(InMemory::new()).part_size(1000);
    (store.prefix("some/prefix".into()), ())
});
conformance_tests!(objects_without_conditions, || async {
    let engine = Faulty::new(Fault::NoConditions);
    (ObjectStoreBlobs::new(engine).part_size(100_000), ())
});
conformance_tests!(objects_tagged_by_content, || async {
    let engine = Faulty::new(Fault::TagsAreDigests);
    (ObjectStoreBlobs::new(engine), ())
});
catalog_conformance_tests!(object_catalog, || async {
    let store = ObjectStoreBlobs::new(InMemory::new()).part_size(1000);
    (store.prefix("some/prefix".into()), ())
});

catalog_conformance_tests!(object_catalog_that_deletes_only_what_is_there, || async {
    let engine = Faulty::new(Fault::DeletesOnlyWhatIsThere);
    (ObjectStoreBlobs::new(engine), ())
});

fn key() -> BlobKey {
    BlobKey::from_path("ACCOUNT/202401-DOCUMENT/message.mp3").unwrap()
}

fn name() -> Path {
    Path::from("ACCOUNT/202401-DOCUMENT/message.mp3")
}

fn upload(content: impl Into<Body>) -> Upload {
    Upload::new(key(), content)
        .with_content_type(HeaderValue::from_static("audio/mpeg"))
        .with_metadata(Metadata::from_json(r#"{"call_id":"b3f6"}"#).unwrap())
}

async fn read(store: &ObjectStoreBlobs) -> Result<Bytes> {
    let Fetched::Blob(blob) = store.get(&key(), None).await? else {
        panic!("no redirect was asked for");
    };
    Ok(blob.body.collect().await?.to_bytes())
}

#[tokio::test]
async fn stores_objects_in_the_documented_format() {
    let engine = Arc::new(InMemory::new());
    let store = ObjectStoreBlobs::new(Arc::clone(&engine));
    store.put(upload("ID3")).await.unwrap();
    let object = engine.get(&name()).await.unwrap();
    let attribute = |name: &'static str| object.attributes.get(&Attribute::Metadata(name.into())).cloned();
    assert_eq!(
        object.attributes.get(&Attribute::ContentType).unwrap().as_ref(),
        "audio/mpeg"
    );
    assert_eq!(attribute("kazoometadata").unwrap().as_ref(), r#"{"call_id":"b3f6"}"#);
    assert_eq!(attribute("kazootrailer"), None);
    assert_eq!(object.bytes().await.unwrap(), "ID3");

    let large = format!(r#"{{"transcription":"{}"}}"#, "x".repeat(3_000));
    let metadata = Metadata::from_json(large.clone()).unwrap();
    store.put(upload("ID3").with_metadata(metadata)).await.unwrap();
    let object = engine.get(&name()).await.unwrap();
    let trailer = object
        .attributes
        .get(&Attribute::Metadata("kazootrailer".into()))
        .unwrap();
    assert_eq!(trailer.as_ref(), large.len().to_string());
    assert_eq!(object.bytes().await.unwrap(), format!("ID3{large}"));
    assert_eq!(read(&store).await.unwrap(), "ID3");
    let last = store
        .get(&key(), Some(ByteRange::Last(2)))
        .await
        .unwrap()
        .into_blob()
        .unwrap();
    assert_eq!(last.range, 1..3);
    assert_eq!(
        last.body.collect().await.unwrap().to_bytes(),
        "D3",
        "the document is no content"
    );
    for beyond in [ByteRange::From(3), ByteRange::FromTo(3, 9)] {
        let error = store.get(&key(), Some(beyond)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::RangeNotSatisfiable, "{beyond}");
    }
}

#[tokio::test]
async fn serves_objects_of_other_programs() {
    let engine = Arc::new(InMemory::new());
    let store = ObjectStoreBlobs::new(Arc::clone(&engine));
    engine.put(&name(), PutPayload::from_static(b"by hand")).await.unwrap();
    assert_eq!(read(&store).await.unwrap(), "by hand");
    assert_eq!(store.metadata(&key()).await.unwrap(), None);
    for (attribute, value) in [
        ("kazootrailer", "8"),
        ("kazootrailer", "-1"),
        ("kazoometadata", "[]"),
        ("kazoometadata", "%"),
    ] {
        let mut options = PutOptions::default();
        options
            .attributes
            .insert(Attribute::Metadata(attribute.into()), value.into());
        let payload = PutPayload::from_static(b"by hand");
        engine.put_opts(&name(), payload, options).await.unwrap();
        let error = store.metadata(&key()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal, "{attribute}: {value}");
        assert!(error.message().contains(attribute), "{error}");
    }
}

#[tokio::test]
async fn creates_a_file_with_one_request() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone());
    assert_eq!(store.put(upload("new")).await.unwrap(), Stored::Created);
    assert_eq!(engine.calls(), ["put"]);
    assert_eq!(store.put(upload("newer")).await.unwrap(), Stored::Replaced);
    assert_eq!(engine.calls(), ["put", "put"]);
    read(&store).await.unwrap();
    assert_eq!(engine.calls(), ["get"]);
    let range = ByteRange::FromTo(1, 3);
    store.get(&key(), Some(range)).await.unwrap();
    assert_eq!(engine.calls(), ["get"]);
    store.head(&key()).await.unwrap();
    store.metadata(&key()).await.unwrap();
    assert_eq!(engine.calls(), ["head", "head"]);
}

#[tokio::test]
async fn repeats_a_put_whose_response_was_lost() {
    let engine = Faulty::new(Fault::LostAnswer);
    let store = ObjectStoreBlobs::new(engine.clone());
    store.put(upload("content")).await.unwrap();
    assert_eq!(engine.calls(), ["put", "head", "put"]);
    assert_eq!(read(&store).await.unwrap(), "content");
}

#[tokio::test]
async fn aborts_an_interrupted_multipart_upload() {
    let long = "x".repeat(5_000);
    for fault in [Fault::None, Fault::PartFails(2), Fault::PartHangs(2)] {
        let engine = Faulty::new(fault);
        let store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
        let store = store.deadline(Duration::from_millis(50));
        let body = if fault == Fault::None {
            Body::new(faulty::breaks_after(5_000))
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
        let store = ObjectStoreBlobs::new(engine.clone()).part_size(1000);
        let store = store.deadline(Duration::from_millis(50));
        let error = store.put(upload("x".repeat(5_000))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?}: {error}");
        // Runs the background tasks.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!engine.calls().contains(&"abort"), "{fault:?}");
    }
}

/// Without the permission to list the bucket, S3 does not report a missing object.
#[tokio::test]
async fn a_check_detects_an_engine_that_hides_missing_objects() {
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
        .put(upload(Body::new(faulty::slow(vec![50; 10], pause))))
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
async fn a_check_detects_an_engine_without_attributes() {
    let store = ObjectStoreBlobs::new(Faulty::new(Fault::DropsAttributes));
    let error = store.check().await.unwrap_err();
    assert!(error.message().contains("attributes"), "{error}");
}

#[tokio::test]
async fn a_check_leaves_no_object() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone()).prefix("p".into());
    store.check().await.unwrap();
    assert_eq!(engine.calls(), ["put", "head", "head", "get", "delete"]);
    let (one, two) = tokio::join!(store.check(), store.check());
    assert!(one.is_ok() && two.is_ok());
    assert_eq!(engine.objects().await, [""; 0]);
}

#[tokio::test]
async fn redirects_a_fetch_to_a_signed_url() {
    let store = ObjectStoreBlobs::new(InMemory::new());
    let store = store.redirect(Arc::new(Signs), Duration::from_secs(60));
    store.put(upload("content")).await.unwrap();
    let Fetched::Redirect(location) = store.get(&key(), None).await.unwrap() else {
        panic!("a fetch is redirected");
    };
    assert_eq!(
        location,
        "http://engine/ACCOUNT/202401-DOCUMENT/message.mp3?GET&valid=60"
    );
    assert_eq!(store.head(&key()).await.unwrap().len, 7);
    // The engine would return the document with the content.
    let large = format!(r#"{{"transcription":"{}"}}"#, "x".repeat(3_000));
    let metadata = Metadata::from_json(large).unwrap();
    store.put(upload("content").with_metadata(metadata)).await.unwrap();
    assert!(store.get(&key(), None).await.unwrap().into_blob().is_some());
    // The signed URLs of some engines refer to another object.
    for path in ["ACCOUNT/voice%20mail.mp3", "ACCOUNT/50%25.mp3", "%C3%BC"] {
        let key = BlobKey::from_path(path).unwrap();
        store.put(Upload::new(key.clone(), "content")).await.unwrap();
        let fetched = store.get(&key, None).await.unwrap();
        assert!(fetched.into_blob().is_some(), "{path}");
    }
    let missing = BlobKey::from_path("missing").unwrap();
    assert!(store.get(&missing, None).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn reads_metadata_of_one_object_while_it_is_replaced() {
    let document = |letter: &str, len| Metadata::from_json(format!(r#"{{"n":"{}"}}"#, letter.repeat(len))).unwrap();
    // Longer, shorter, and of the same length.
    for len in [5_000, 3_000, 4_000] {
        let store = ObjectStoreBlobs::new(Faulty::new(Fault::ReplacedBehindHead));
        let (old, new) = (document("o", 4_000), document("n", len));
        store.put(upload("content").with_metadata(old)).await.unwrap();
        let next = Upload::new(BlobKey::from_path("next").unwrap(), "another").with_metadata(new.clone());
        store.put(next).await.unwrap();
        assert!(store.metadata(&key()).await.unwrap() == Some(new), "{len}");
    }
}

#[tokio::test]
async fn refuses_a_media_type_that_is_not_ascii() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone());
    let bad = upload("content").with_content_type(HeaderValue::from_bytes(b"audio/\xff").unwrap());
    let error = store.put(bad).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert_eq!(engine.objects().await, [""; 0]);
}

fn creation(content: impl Into<Body>) -> Upload {
    upload(content).with_precondition(Precondition::if_absent())
}

#[tokio::test]
async fn stores_a_conditional_upload_with_one_conditional_put() {
    let engine = Faulty::new(Fault::None);
    let store = ObjectStoreBlobs::new(engine.clone());
    assert_eq!(store.put(creation("first")).await.unwrap(), Stored::Created);
    // Only the first one tests the engine.
    assert_eq!(
        engine.calls(),
        ["put", "put", "put", "put", "put", "delete", "head", "get", "put"]
    );
    assert_eq!(engine.objects().await, [name().to_string()]);
    let etag = store.head(&key()).await.unwrap().etag.unwrap();
    engine.calls();
    let update = upload("second").with_precondition(Precondition::if_match(&etag));
    assert_eq!(store.put(update).await.unwrap(), Stored::Replaced);
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
            Fault::StoresAndHangs => store.deadline(Duration::from_millis(50)),
            _ => store,
        };
        assert_eq!(
            store.put(creation("content")).await.unwrap(),
            Stored::Created,
            "{fault:?}"
        );
        assert_eq!(read(&store).await.unwrap(), "content");
        let error = store.put(creation("another")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed, "{fault:?}");
        assert_eq!(read(&store).await.unwrap(), "content");
    }
}
