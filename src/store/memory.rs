//! [`MemoryStore`]: stores files in a map.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::HeaderValue;
use http_body_util::BodyExt as _;

use super::{
    Blob, BlobCatalog, BlobEntry, BlobInfo, BlobStore, ByteRange, GetResult, PutResult, Upload, catalog::is_beneath,
};
use crate::{
    body::Body,
    digest::Digest,
    error::{Error, ErrorKind, Result},
    key::BlobKey,
    metadata::Metadata,
};

/// Stores files in memory, for tests and experiments. They are lost when the store is dropped.
///
/// Clones share one store. An upload is buffered completely before it is stored.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    files: Arc<RwLock<HashMap<BlobKey, File>>>,
    versions: Arc<AtomicU64>,
    capacity: usize,
}

#[derive(Clone, Debug)]
struct File {
    info: BlobInfo,
    content: Bytes,
    metadata: Option<Metadata>,
}

impl MemoryStore {
    /// Creates an empty store without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(usize::MAX)
    }

    /// Creates an empty store for `capacity` bytes in total. A larger upload is [`ErrorKind::StorageFull`].
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            files: Arc::default(),
            versions: Arc::default(),
            capacity,
        }
    }

    fn file(&self, key: &BlobKey) -> Result<File> {
        let files = self.files.read().map_err(|_| poisoned())?;
        files
            .get(key)
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, "no file is stored under this name"))
    }

    fn full(&self) -> Error {
        Error::new(
            ErrorKind::StorageFull,
            format!("the memory store has reached its capacity of {} bytes", self.capacity),
        )
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

fn poisoned() -> Error {
    Error::new(ErrorKind::Internal, "a thread panicked while it used the memory store")
}

impl BlobStore for MemoryStore {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let Upload {
            key,
            mut body,
            content_type,
            metadata,
            precondition,
            ..
        } = upload;
        let mut content = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if data.len() > self.capacity - content.len() {
                    return Err(self.full());
                }
                content.extend_from_slice(&data);
            }
        }
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let info = BlobInfo::new(content.len() as u64)
            .with_content_type(content_type)
            .with_etag(HeaderValue::try_from(format!("\"{version:x}\"")).ok())
            .with_modified(SystemTime::now())
            .with_digest(Digest::of(&content));
        let mut files = self.files.write().map_err(|_| poisoned())?;
        precondition.check(files.get(&key).map(|file| &file.info))?;
        let others: usize = files
            .iter()
            .filter(|(name, _)| **name != key)
            .map(|(_, file)| file.content.len())
            .sum();
        if content.len() > self.capacity.saturating_sub(others) {
            return Err(self.full());
        }
        let file = File {
            info,
            content: content.freeze(),
            metadata,
        };
        Ok(if files.insert(key.detached(), file).is_some() {
            PutResult::Replaced
        } else {
            PutResult::Created
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let File { info, content, .. } = self.file(key)?;
        let range = range.map_or(Ok(0..info.len), |range| range.of(info.len))?;
        // A range within the length of a slice fits a `usize`.
        #[allow(clippy::cast_possible_truncation)]
        let part = content.slice(range.start as usize..range.end as usize);
        Ok(GetResult::Blob(Blob::partial(info, range, Body::from(part))))
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        Ok(self.file(key)?.info)
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        Ok(self.file(key)?.metadata)
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        let File { info, metadata, .. } = self.file(key)?;
        Ok((info, metadata))
    }
}

impl BlobCatalog for MemoryStore {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let entries = self.files.read().map_err(|_| poisoned()).map(|files| {
            let beneath = files
                .iter()
                .filter(|(key, _)| prefix.is_none_or(|prefix| is_beneath(key, prefix)));
            let entries =
                beneath.map(|(key, file)| BlobEntry::new(key.clone(), file.info.len).with_modified(file.info.modified));
            entries.collect::<Vec<_>>()
        });
        Entries(match entries {
            Ok(entries) => entries.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        })
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.files.write().map_err(|_| poisoned())?.remove(key);
        Ok(())
    }
}

/// The files at the start of the listing.
struct Entries(Vec<Result<BlobEntry>>);

impl Stream for Entries {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop())
    }
}
