//! Every wrapper forwards `describe`: the default calls `head` and `metadata`, which fail here.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use kazoo_storage::store::MeasuredStore;
use kazoo_storage::{
    BlobKey, BlobStore, Error, ErrorKind, MemoryStore, Metadata, Upload,
    store::{DynBlobCatalog, DynBlobStore, Fault, FaultyStore, Operation},
};

/// Asserts that what `wrap` returns calls `describe` of the store that it wraps.
pub(super) async fn assert_forwards<S: BlobStore>(wrap: impl FnOnce(FaultyStore<MemoryStore>) -> S) {
    let inner = FaultyStore::new(MemoryStore::new());
    let store = wrap(inner.clone());
    let key = BlobKey::from_path("ACC/DOC/message.mp3").unwrap();
    let metadata = Metadata::from_json("{}").unwrap();
    let upload = Upload::new(key.clone(), "ID3").with_metadata(metadata.clone());
    store.put(upload).await.unwrap();
    let apart = Error::new(ErrorKind::Internal, "the wrapper calls `head` and `metadata`");
    inner.inject(
        [Operation::Get, Operation::Head, Operation::Metadata],
        Fault::Fail(apart),
    );
    let (info, found) = store.describe(&key).await.unwrap();
    assert_eq!((info.len, found), (3, Some(metadata)));
}

#[tokio::test]
async fn every_wrapper_forwards_it() {
    assert_forwards(Arc::new).await;
    assert_forwards(DynBlobStore::new).await;
    assert_forwards(DynBlobCatalog::new).await;
    assert_forwards(FaultyStore::new).await;
    #[cfg(feature = "metrics")]
    assert_forwards(MeasuredStore::new).await;
}
