//! Stores that record their calls, and stores that fail.

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kazoo_storage::FsStore;
use kazoo_storage::{
    Blob, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, Fetched, MemoryStore, Metadata, Result,
    Stored, Upload, store::DynBlobStore,
};

/// A store of the crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Files,
    /// Objects in memory, with parts so small that most uploads need several.
    Objects,
    /// Objects in the object store named by the environment.
    Engine,
}

impl Kind {
    /// The stores that need nothing from the environment.
    pub const ALL: &[Self] = &[Self::Memory, Self::Files, Self::Objects];
}

/// A store that records every stored key.
#[derive(Clone, Debug)]
pub struct Spy {
    inner: DynBlobStore,
    stored: Arc<Mutex<Vec<BlobKey>>>,
    /// Deleted with the last clone.
    root: Option<Arc<tempfile::TempDir>>,
}

impl Spy {
    pub fn memory() -> Self {
        Self::new(MemoryStore::new(), None)
    }

    /// Opens a new, empty store.
    pub fn open(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self::memory(),
            Kind::Files => {
                let root = tempfile::tempdir().unwrap();
                // Other tests cover durability.
                let store = FsStore::options().durable(false).open(root.path()).unwrap();
                Self::new(store, Some(Arc::new(root)))
            }
            Kind::Objects => {
                let engine = object_store::memory::InMemory::new();
                Self::new(kazoo_storage::ObjectStoreBlobs::new(engine).part_size(16), None)
            }
            Kind::Engine => Self::new(super::engine::store(), None),
        }
    }

    pub fn new(inner: impl BlobStore, root: Option<Arc<tempfile::TempDir>>) -> Self {
        Self {
            inner: DynBlobStore::new(inner),
            stored: Arc::default(),
            root,
        }
    }

    /// Every file below the directory of the store, internal ones included. Empty for a store without a directory.
    pub fn files(&self) -> Vec<PathBuf> {
        fn visit(directory: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    visit(&path, files);
                } else {
                    files.push(path);
                }
            }
        }
        let mut files = Vec::new();
        if let Some(root) = &self.root {
            visit(root.path(), &mut files);
        }
        files.sort();
        files
    }

    /// The key of every acknowledged upload, in order.
    pub fn stored(&self) -> Vec<BlobKey> {
        self.stored.lock().unwrap().clone()
    }

    /// The content at `path`.
    pub async fn content(&self, path: &str) -> Option<Vec<u8>> {
        self.content_of(&BlobKey::from_path(path).unwrap()).await
    }

    pub async fn content_of(&self, key: &BlobKey) -> Option<Vec<u8>> {
        match self.inner.get(key, None).await {
            Ok(fetched) => {
                let blob = fetched.into_blob().expect("no redirect");
                Some(blob.body.collect().await.unwrap().to_bytes().to_vec())
            }
            Err(error) => {
                assert!(error.is_not_found(), "{error:?}");
                None
            }
        }
    }

    /// The metadata at `key`, as text.
    pub async fn metadata_of(&self, key: &BlobKey) -> Option<String> {
        let metadata = self.inner.metadata(key).await.expect("the file is there")?;
        Some(String::from_utf8(metadata.as_json().to_vec()).unwrap())
    }
}

impl BlobStore for Spy {
    async fn put(&self, upload: Upload) -> Result<Stored> {
        let key = upload.key.clone();
        let stored = self.inner.put(upload).await?;
        self.stored.lock().unwrap().push(key);
        Ok(stored)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.inner.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}

/// The time at which a [`Failing`] store reports its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before it reads a byte of the upload.
    AtOnce,
    /// After it has read all of it.
    AtTheEnd,
}

/// A store that fails every operation.
#[derive(Clone, Copy, Debug)]
pub struct Failing {
    pub kind: ErrorKind,
    pub when: When,
}

impl Failing {
    fn error(self) -> Error {
        Error::new(self.kind, "the disk behind the store has a problem")
    }
}

impl BlobStore for Failing {
    async fn put(&self, mut upload: Upload) -> Result<Stored> {
        if self.when == When::AtTheEnd {
            while let Some(frame) = upload.body.frame().await {
                frame?;
            }
        }
        Err(self.error())
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched> {
        Err(self.error())
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Err(self.error())
    }

    async fn check(&self) -> Result<()> {
        Err(self.error())
    }
}

/// A store that breaks its contract: it reports success for every upload, even for a truncated body.
#[derive(Clone, Copy, Debug)]
pub struct AcceptsEverything {
    /// Reads the body first.
    pub reads: bool,
}

impl BlobStore for AcceptsEverything {
    async fn put(&self, mut upload: Upload) -> Result<Stored> {
        while self.reads && matches!(upload.body.frame().await, Some(Ok(_))) {}
        Ok(Stored::Created)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched> {
        Err(Error::new(ErrorKind::NotFound, "never stored"))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Err(Error::new(ErrorKind::NotFound, "never stored"))
    }
}

/// A store that redirects every fetch.
#[derive(Clone, Debug)]
pub struct Redirecting {
    pub location: http::Uri,
}

impl BlobStore for Redirecting {
    async fn put(&self, mut upload: Upload) -> Result<Stored> {
        while let Some(frame) = upload.body.frame().await {
            frame?;
        }
        Ok(Stored::Replaced)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched> {
        Ok(Fetched::Redirect(self.location.clone()))
    }

    async fn head(&self, _: &BlobKey) -> Result<BlobInfo> {
        Ok(BlobInfo::new(3))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Ok(None)
    }
}

/// A store with a file of `len` zeros at every key. Reading fails after `intact` of them.
#[derive(Clone, Copy, Debug)]
pub struct Truncated {
    pub len: u64,
    pub intact: u64,
}

impl BlobStore for Truncated {
    async fn put(&self, _: Upload) -> Result<Stored> {
        Err(Error::new(ErrorKind::StorageFull, "read only"))
    }

    async fn get(&self, _: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        let info = BlobInfo::new(self.len);
        let range = range.map_or(Ok(0..self.len), |range| range.of(self.len))?;
        let body = TruncatedBody {
            left: self.intact.min(range.end).saturating_sub(range.start),
        };
        Ok(Fetched::Blob(Blob::partial(info, range, Body::new(body))))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Ok(None)
    }
}

struct TruncatedBody {
    left: u64,
}

impl http_body::Body for TruncatedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>>>> {
        const CHUNK: u64 = 8 * 1024;
        if self.left == 0 {
            return Poll::Ready(Some(Err(Error::new(ErrorKind::Unavailable, "the disk went away"))));
        }
        let len = self.left.min(CHUNK);
        self.left -= len;
        let zeros = Bytes::from(vec![0; usize::try_from(len).unwrap()]);
        Poll::Ready(Some(Ok(http_body::Frame::data(zeros))))
    }
}
