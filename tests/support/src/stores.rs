//! Stores that record their calls, and stores that violate their contract.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use http_body_util::BodyExt as _;
use kazoo_storage::FsStore;
use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, MemoryStore, Metadata, PutResult, Result,
    Upload, store::DynBlobStore,
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
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let key = upload.key.clone();
        let stored = self.inner.put(upload).await?;
        self.stored.lock().unwrap().push(key);
        Ok(stored)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.inner.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.inner.metadata(key).await
    }

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        self.inner.describe(key).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}

/// A store that breaks its contract: it reports success for every upload, even for a truncated body.
#[derive(Clone, Copy, Debug)]
pub struct AcceptsEverything {
    /// Reads the body first.
    pub reads: bool,
}

impl BlobStore for AcceptsEverything {
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        while self.reads && matches!(upload.body.frame().await, Some(Ok(_))) {}
        Ok(PutResult::Created)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult> {
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
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        while let Some(frame) = upload.body.frame().await {
            frame?;
        }
        Ok(PutResult::Replaced)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult> {
        Ok(GetResult::Redirect(self.location.clone()))
    }

    async fn head(&self, _: &BlobKey) -> Result<BlobInfo> {
        Ok(BlobInfo::new(3))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Ok(None)
    }
}
