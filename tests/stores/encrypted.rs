//! The wrapper of `docs/wrap-a-store.md` that changes the length of files keeps the contract.

use std::future::ready;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobCatalog, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, GetResult, MemoryStore,
    Metadata, PutResult, Result, Upload, catalog_conformance_tests, conformance_tests, store::BlobEntry,
};

/// Length of the nonce, in bytes.
const NONCE: usize = 16;

/// Encrypts each file with a nonce of its own, which is stored in front of it.
struct Encrypted<S> {
    store: S,
    secret: [u8; NONCE],
}

impl<S> Encrypted<S> {
    /// Encrypts or decrypts chunks, from the first of a file on. This is a toy that protects nothing: it repeats after 16
    /// bytes. Replace it by a stream cipher of a crate.
    fn cipher(&self, nonce: &[u8]) -> impl FnMut(Bytes) -> Bytes + Send + 'static {
        let toy: Vec<u8> = self
            .secret
            .iter()
            .zip(nonce)
            .map(|(secret, nonce)| secret ^ nonce)
            .collect();
        let mut keystream = toy.into_iter().cycle();
        move |data| data.iter().zip(&mut keystream).map(|(byte, key)| byte ^ key).collect()
    }
}

/// The length of the nonce is none of the client's, and the digest of the wrapped store is that of other bytes.
fn describe(mut info: BlobInfo) -> Result<BlobInfo> {
    info.len = info.len.checked_sub(NONCE as u64).ok_or_else(without_nonce)?;
    Ok(info.with_digest(None))
}

fn without_nonce() -> Error {
    Error::new(ErrorKind::Damaged, "the stored file is shorter than its nonce")
}

/// Returns the nonce and the bytes that arrived with it. A chunk may end anywhere.
async fn read_nonce(body: &mut Body) -> Result<(Bytes, Bytes)> {
    let mut start = BytesMut::new();
    while start.len() < NONCE {
        let frame = body.frame().await.ok_or_else(without_nonce)??;
        start.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    let nonce = start.split_to(NONCE);
    Ok((nonce.freeze(), start.freeze()))
}

/// Omits the first bytes.
fn skip(mut count: u64) -> impl FnMut(Bytes) -> Bytes + Send + 'static {
    move |mut data| {
        let skipped = usize::try_from(count).unwrap_or(usize::MAX).min(data.len());
        count -= skipped as u64;
        data.split_off(skipped)
    }
}

impl<S: BlobStore> BlobStore for Encrypted<S> {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)
            .map_err(|error| Error::new(ErrorKind::Internal, "the system has no random numbers").with_source(error))?;
        let content = upload.body.into_data_stream().map_ok(self.cipher(&nonce));
        let nonce = stream::once(ready(Ok(Bytes::copy_from_slice(&nonce))));
        upload.body = Body::from_stream(nonce.chain(content));
        upload.len = upload.len.map(|len| len + NONCE as u64);
        self.store.put(upload).await
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        // One call reads the nonce and the range, so they are of one file, even if it is replaced meanwhile.
        let stored = match range {
            Some(ByteRange::FromTo(_, last)) => Some(ByteRange::FromTo(0, last.saturating_add(NONCE as u64))),
            _ => None,
        };
        let GetResult::Blob(mut blob) = self.store.get(key, stored).await? else {
            // The client would fetch the encrypted bytes.
            let message = "an encrypted store cannot redirect; turn redirects off";
            return Err(Error::new(ErrorKind::Internal, message));
        };
        let info = describe(blob.info)?;
        let range = range.map_or(Ok(0..info.len), |range| range.of(info.len))?;
        let (nonce, first) = read_nonce(&mut blob.body).await?;
        let content = stream::once(ready(Ok(first))).chain(blob.body.into_data_stream());
        let content = content.map_ok(self.cipher(&nonce)).map_ok(skip(range.start));
        let body = Body::from_stream(content.try_filter(|data| ready(!data.is_empty())));
        Ok(GetResult::Blob(Blob::partial(info, range, body)))
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        describe(self.store.head(key).await?)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.store.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        let (info, metadata) = self.store.describe(key).await?;
        Ok((describe(info)?, metadata))
    }

    async fn check(&self) -> Result<()> {
        self.store.check().await
    }
}

impl<S: BlobCatalog> BlobCatalog for Encrypted<S> {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        self.store.list(prefix).map_ok(|mut entry| {
            entry.len = entry.len.saturating_sub(NONCE as u64);
            entry
        })
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.store.delete(key).await
    }
}

// The end of the wrapper.

fn encrypted<S>(store: S) -> Encrypted<S> {
    Encrypted {
        store,
        secret: *b"a secret of ours",
    }
}

conformance_tests!(memory, || async { (encrypted(MemoryStore::new()), ()) });
catalog_conformance_tests!(memory_catalog, || async { (encrypted(MemoryStore::new()), ()) });
conformance_tests!(files, || async {
    let root = tempfile::tempdir().unwrap();
    let store = kazoo_storage::FsStore::options().durable(false);
    (encrypted(store.open(root.path()).unwrap()), root)
});

fn key() -> BlobKey {
    BlobKey::from_path("ACC/DOC/message.mp3").unwrap()
}

async fn read(store: &impl BlobStore, range: Option<ByteRange>) -> Result<Bytes> {
    let blob = store.get(&key(), range).await?.into_blob().unwrap();
    Ok(blob.body.collect().await?.to_bytes())
}

#[tokio::test]
async fn stores_each_upload_behind_a_nonce_of_its_own() {
    let inner = MemoryStore::new();
    let mut stored = Vec::new();
    for _ in 0..2 {
        let content = vec![0; 40];
        encrypted(inner.clone()).put(Upload::new(key(), content)).await.unwrap();
        stored.push(read(&inner, None).await.unwrap());
    }
    let secret = b"a secret of ours";
    for file in &stored {
        let (nonce, content) = file.split_at(NONCE);
        let expected: Vec<u8> = (0..40).map(|at| nonce[at % NONCE] ^ secret[at % NONCE]).collect();
        assert_eq!(content, expected);
    }
    assert_ne!(stored[0][..NONCE], stored[1][..NONCE]);
}

#[tokio::test]
async fn returns_every_range_whatever_the_chunks_of_the_wrapped_store() {
    let root = tempfile::tempdir().unwrap();
    let store = encrypted(
        kazoo_storage::FsStore::options()
            .durable(false)
            .open(root.path())
            .unwrap(),
    );
    let content: Vec<u8> = (0..=250).cycle().take(300_000).collect();
    store.put(Upload::new(key(), content.clone())).await.unwrap();
    let len = content.len() as u64;
    for range in [
        ByteRange::From(0),
        ByteRange::From(17),
        ByteRange::From(len - 1),
        ByteRange::FromTo(0, 0),
        ByteRange::FromTo(70_001, 140_003),
        ByteRange::FromTo(len - 16, u64::MAX),
        ByteRange::Last(1),
        ByteRange::Last(len + 5),
    ] {
        let bytes = range.of(len).unwrap();
        let expected = &content[usize::try_from(bytes.start).unwrap()..usize::try_from(bytes.end).unwrap()];
        assert!(read(&store, Some(range)).await.unwrap() == expected, "{range}");
    }
    for range in [ByteRange::From(len), ByteRange::FromTo(len, len + 9)] {
        let error = read(&store, Some(range)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RangeNotSatisfiable, "{range}");
    }
}

#[tokio::test]
async fn reports_a_file_without_a_nonce() {
    let inner = MemoryStore::new();
    inner.put(Upload::new(key(), "by hand")).await.unwrap();
    let store = encrypted(inner);
    for error in [
        read(&store, None).await.unwrap_err(),
        store.head(&key()).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
}

#[tokio::test]
async fn forwards_describe() {
    super::describe::assert_forwards(encrypted).await;
}

/// The suite above tests the code that the page shows.
#[test]
fn is_the_wrapper_of_the_page() {
    let (source, page) = (include_str!("encrypted.rs"), include_str!("../../docs/wrap-a-store.md"));
    let start = source.find("/// Length of the nonce").unwrap();
    let end = source.find("// The end of the wrapper").unwrap();
    assert!(
        page.contains(source[start..end].trim_end()),
        "the page shows another wrapper"
    );
}
