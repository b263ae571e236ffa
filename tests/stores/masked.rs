//! The wrapper of `docs/wrap-a-store.md` keeps the contract.

use bytes::Bytes;
use futures_core::Stream;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobCatalog, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, GetResult, MemoryStore,
    Metadata, PutResult, Result, Upload, catalog_conformance_tests, conformance_tests, store::BlobEntry,
};

/// Stores every byte inverted. This protects nothing: it shows where a transformation belongs.
struct Masked<S>(S);

fn invert(body: Body) -> Body {
    let inverted = |data: Bytes| data.iter().map(|byte| !byte).collect::<Bytes>();
    Body::new(body.map_frame(move |frame| frame.map_data(inverted)))
}

/// The digest of the wrapped store is that of other bytes.
fn describe(info: BlobInfo) -> BlobInfo {
    info.with_digest(None)
}

impl<S: BlobStore> BlobStore for Masked<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        upload.body = invert(upload.body);
        self.0.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        match self.0.get(key, range).await? {
            GetResult::Blob(blob) => {
                let (info, body) = (describe(blob.info), invert(blob.body));
                Ok(GetResult::Blob(Blob::partial(info, blob.range, body)))
            }
            // The client would fetch the inverted bytes.
            _ => Err(Error::new(
                ErrorKind::Internal,
                "a masked store cannot redirect; turn redirects off",
            )),
        }
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        Ok(describe(self.0.head(key).await?))
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.0.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        let (info, metadata) = self.0.describe(key).await?;
        Ok((describe(info), metadata))
    }

    async fn check(&self) -> Result<()> {
        self.0.check().await
    }
}

impl<S: BlobCatalog> BlobCatalog for Masked<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.0.list(prefix)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.0.delete(key).await
    }
}

// The end of the wrapper.

conformance_tests!(memory, || async { (Masked(MemoryStore::new()), ()) });
catalog_conformance_tests!(memory_catalog, || async { (Masked(MemoryStore::new()), ()) });
conformance_tests!(files, || async {
    let root = tempfile::tempdir().unwrap();
    let store = kazoo_storage::FsStore::options().durable(false);
    (Masked(store.open(root.path()).unwrap()), root)
});

#[tokio::test]
async fn stores_other_bytes_than_it_returns() {
    let (inner, key) = (MemoryStore::new(), BlobKey::from_path("ACC/DOC/message.mp3").unwrap());
    Masked(inner.clone())
        .put(Upload::new(key.clone(), vec![0; 3]))
        .await
        .unwrap();
    let blob = inner.get(&key, None).await.unwrap().into_blob().unwrap();
    assert_eq!(blob.body.collect().await.unwrap().to_bytes(), vec![0xff; 3]);
}

#[tokio::test]
async fn forwards_describe() {
    super::describe::assert_forwards(Masked).await;
}

/// The suite above tests the code that the page shows.
#[test]
fn is_the_wrapper_of_the_page() {
    let (source, page) = (include_str!("masked.rs"), include_str!("../../docs/wrap-a-store.md"));
    let start = source.find("/// Stores every byte inverted").unwrap();
    let end = source.find("// The end of the wrapper").unwrap();
    assert!(
        page.contains(source[start..end].trim_end()),
        "the page shows another wrapper"
    );
}
