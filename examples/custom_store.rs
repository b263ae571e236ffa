//! A custom store: an implementation of one trait, and the test suite of its contract.
//!
//! ```console
//! cargo run --example custom_store    # port 8080; `cargo run --example custom_store 0` takes any free one
//! cargo test --example custom_store --features conformance
//! ```
//!
//! Then upload a file and fetch it, as KAZOO does:
//!
//! ```console
//! curl -i -T message.mp3 -H 'content-type: audio/mpeg' http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! ```

use std::{
    collections::HashMap,
    env,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use axum::Router;
use bytes::Bytes;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, KazooStorage, Metadata, PutResult,
    Result, Upload,
};
use tokio::net::TcpListener;

/// Stores files in a map. Replace it with your database, bucket or archive.
#[derive(Default)]
struct MyStore {
    files: Mutex<HashMap<BlobKey, File>>,
    uploads: AtomicU64,
}

#[derive(Clone)]
struct File {
    info: BlobInfo,
    content: Bytes,
    metadata: Option<Metadata>,
}

impl MyStore {
    fn file(&self, key: &BlobKey) -> Result<File> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let file = files.get(key).cloned();
        file.ok_or_else(|| Error::new(ErrorKind::NotFound, "no file is stored under this name"))
    }
}

impl BlobStore for MyStore {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        // An interrupted upload fails here, before anything has changed.
        let content = upload.body.collect().await?.to_bytes();
        // No two contents of a key share a tag, so a player that requests ranges never joins parts of two contents.
        let version = self.uploads.fetch_add(1, Ordering::Relaxed);
        let info = BlobInfo::new(content.len() as u64)
            .with_content_type(upload.content_type)
            .with_etag(HeaderValue::try_from(format!("\"{version}\"")).ok())
            .with_modified(SystemTime::now());
        let metadata = upload.metadata;
        // Content and metadata become visible together. An existing file is not a conflict: KAZOO retries uploads.
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        // The condition is checked under the lock that stores the file, because uploads run concurrently.
        let current = files.get(&upload.key).map(|file| &file.info);
        upload.precondition.check(current)?;
        let file = File {
            info,
            content,
            metadata,
        };
        let replaced = files.insert(upload.key, file).is_some();
        Ok(if replaced {
            PutResult::Replaced
        } else {
            PutResult::Created
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let File { info, content, .. } = self.file(key)?;
        let range = range.map_or(Ok(0..info.len), |range| range.of(info.len))?;
        #[allow(clippy::cast_possible_truncation)] // It lies within the length of a slice.
        let bytes = content.slice(range.start as usize..range.end as usize);
        Ok(GetResult::Blob(Blob::partial(info, range, bytes)))
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        Ok(self.file(key)?.metadata)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let storage = KazooStorage::new(MyStore::default()).into_service();
    let app = Router::new().nest_service("/some_prefix", storage);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    use super::MyStore;

    kazoo_storage::conformance_tests!(my_store, || async { (MyStore::default(), ()) });
}
