//! `ObjectStoreBlobs` keeps its contracts on an engine that runs: Ceph, and the emulators of Google's and Azure's.

use bytes::Bytes;
use futures_util::stream;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, BlobStore as _, Body, ByteRange, Error, ErrorKind, Metadata, ObjectStoreBlobs, PutResult, Upload,
    catalog_conformance_tests, conformance_tests,
};
use kazoo_storage_test_support::engine;

conformance_tests!(
    #[ignore = "needs an object store: see tests/system/cluster"]
    engine_store,
    || async { (engine::store(), ()) }
);
catalog_conformance_tests!(
    #[ignore = "needs an object store: see tests/system/cluster"]
    engine_catalog,
    || async { (engine::store(), ()) }
);

/// More than one part, so that the engine is asked for a multipart upload.
const LONG: usize = 12 << 20;

fn key() -> BlobKey {
    BlobKey::from_path("ACCOUNT/202401-DOCUMENT/long.wav").unwrap()
}

async fn content(store: &ObjectStoreBlobs) -> Option<Bytes> {
    match store.get(&key(), None).await {
        Ok(fetched) => Some(fetched.into_blob().unwrap().body.collect().await.unwrap().to_bytes()),
        Err(error) => {
            assert!(error.is_not_found(), "{error:?}");
            None
        }
    }
}

#[tokio::test]
#[ignore = "needs an object store: see tests/system/cluster"]
async fn stores_a_long_upload_on_an_engine_whole_or_not_at_all() {
    let store = engine::store();
    let long = Bytes::from((0..LONG).map(|at| u8::try_from(at % 251).unwrap()).collect::<Vec<u8>>());
    let broken = || {
        let cut = Error::new(ErrorKind::IncompleteBody, "the client hung up");
        Body::from_stream(stream::iter([Ok(long.clone()), Err(cut)]))
    };
    let error = store.put(Upload::new(key(), broken())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IncompleteBody);
    assert_eq!(content(&store).await, None);

    // With a document that takes a place of its own, behind the content.
    let json = format!(r#"{{"transcription":"{}"}}"#, "word ".repeat(1_000));
    let upload = Upload::new(key(), long.clone()).with_metadata(Metadata::from_json(json.clone()).unwrap());
    assert_eq!(store.put(upload).await.unwrap(), PutResult::Created);
    store.put(Upload::new(key(), broken())).await.unwrap_err();
    assert!(content(&store).await.unwrap() == long, "what was stored is as it was");
    assert_eq!(store.metadata(&key()).await.unwrap().unwrap().as_json(), &json);
    let range = ByteRange::Last(1_000_000);
    let blob = store.get(&key(), Some(range)).await.unwrap().into_blob().unwrap();
    assert_eq!(blob.info.len, LONG as u64);
    assert!(blob.body.collect().await.unwrap().to_bytes() == long[LONG - 1_000_000..]);
}

#[tokio::test]
#[ignore = "needs an object store: see tests/system/cluster"]
async fn reports_a_clear_error_if_an_engine_refuses() {
    for (kind, says, store) in engine::refusing() {
        let error = store.put(Upload::new(key(), "content")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(says), "{error:?}");
        assert!(store.check().await.is_err());
    }
    let long = BlobKey::from_segments(["é".repeat(400)]).unwrap();
    let error = engine::store().put(Upload::new(long, "content")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    assert!(error.message().contains("too long"), "{error}");
}
