//! `ObjectStoreBlobs` on working and on faulty engines.

mod conditions;
mod faults;
mod faulty;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, BlobStore, Body, ByteRange, ErrorKind, GetResult, Metadata, PutResult, Result, Upload,
    catalog_conformance_tests, conformance_tests, store::ObjectStoreBlobs,
};
use object_store::{Attribute, ObjectStore, ObjectStoreExt as _, PutOptions, PutPayload, memory::InMemory, path::Path};

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
    let GetResult::Blob(blob) = store.get(&key(), None).await? else {
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
    assert_eq!(store.put(upload("new")).await.unwrap(), PutResult::Created);
    assert_eq!(engine.calls(), ["put"]);
    assert_eq!(store.put(upload("newer")).await.unwrap(), PutResult::Replaced);
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
async fn leaves_no_object_after_a_check() {
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
    let GetResult::Redirect(location) = store.get(&key(), None).await.unwrap() else {
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
