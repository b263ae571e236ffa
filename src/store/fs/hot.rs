//! [`HotFiles`]: caches small files that are fetched repeatedly, such as greetings.
//!
//! A cached file is used only if the stamps of media and sidecar are unchanged, so a file that was replaced or removed,
//! by an upload or by hand, is never served.
//!
//! Comparing the stamps costs less than opening and reading both files. Measured with 1 to 2000 files of 4 KiB and
//! their sidecars in the page cache: `get` and its body take 2.1 to 4.3 µs of CPU, and 10.2 to 12.4 µs without the
//! cache. `cargo bench -p kazoo-storage-benches --bench cache` compares them with opening and reading both files.

use std::{
    collections::HashMap,
    fs::File,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf as _, Bytes};

use super::{
    name::KeyPath,
    stamp::{self, Stamp, Stamps},
};
use crate::{
    body::Body,
    error::Result,
    key::BlobKey,
    store::{Blob, BlobInfo, ByteRange, GetResult},
};

/// The maximum weight of all cached files, in bytes.
const CAPACITY: usize = 32 << 20;

/// The approximate memory of a file, in bytes, apart from its heap allocations.
const OVERHEAD: usize = 512;

/// The approximate overhead of a heap allocation, in bytes.
const ALLOCATION: usize = 16;

/// A relative path and its expected stamp.
#[derive(Debug)]
struct Known {
    path: Box<str>,
    stamp: Option<Stamp>,
}

impl Known {
    fn is_current(&self, root: &File) -> bool {
        stamp::is_current(root, &self.path, self.stamp)
    }
}

/// A small file that was read completely.
#[derive(Debug)]
pub(super) struct HotFile {
    media: Known,
    sidecar: Known,
    info: BlobInfo,
    content: Bytes,
}

impl HotFile {
    /// Answers a fetch of `range`.
    pub(super) fn fetch(&self, range: Option<ByteRange>) -> Result<GetResult> {
        let range = range.map_or(Ok(0..self.info.len), |range| range.of(self.info.len))?;
        let mut content = self.content.clone();
        content.truncate(usize::try_from(range.end).unwrap_or(usize::MAX));
        content.advance(usize::try_from(range.start).unwrap_or(usize::MAX).min(content.len()));
        Ok(GetResult::Blob(Blob::partial(
            self.info.clone(),
            range,
            Body::from(content),
        )))
    }

    /// Returns the approximate memory of the file and its `key`, in bytes.
    fn weight(&self, key: &BlobKey) -> usize {
        let segments = key
            .segments()
            .map(|segment| size_of::<Box<str>>() + segment.len() + ALLOCATION);
        let headers = [&self.info.content_type, &self.info.etag];
        let headers = headers.into_iter().flatten().map(|value| value.len() + ALLOCATION);
        let paths = [&self.media.path, &self.sidecar.path].map(|path| path.len() + ALLOCATION);
        let held: usize = segments.chain(headers).chain(paths).sum();
        OVERHEAD + held + self.content.len() + ALLOCATION
    }
}

/// The small files that were fetched last.
#[derive(Debug, Default)]
pub(super) struct HotFiles(Mutex<Generations>);

/// Approximates eviction of the least recently used: a file that is fetched moves to the young generation. When that is
/// full, it becomes the old one, and the files in the old one are evicted.
#[derive(Debug, Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    files: HashMap<BlobKey, Arc<HotFile>>,
    /// The approximate memory of the files, in bytes.
    weight: usize,
}

impl HotFiles {
    /// Returns the file under `key`, if it is cached and the file below `root` is unchanged.
    pub(super) fn find(&self, root: &File, key: &BlobKey) -> Option<Arc<HotFile>> {
        // The evicted files are dropped after the lock is released.
        let (file, _evicted) = self.lock().find(key)?;
        (file.media.is_current(root) && file.sidecar.is_current(root)).then_some(file)
    }

    /// Caches `content`, the whole file under `key`.
    pub(super) fn keep(&self, key: &BlobKey, stamps: Stamps, info: &BlobInfo, content: &Bytes) {
        let path = KeyPath::of(key);
        let file = HotFile {
            media: Known {
                path: path.relative(&path.file).into(),
                stamp: Some(stamps.media),
            },
            sidecar: Known {
                path: path.relative(&path.sidecar()).into(),
                stamp: stamps.sidecar,
            },
            info: info.clone(),
            content: content.clone(),
        };
        // The evicted files are dropped after the lock is released.
        let _evicted = self.lock().insert(key.detached(), Arc::new(file));
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    /// Returns the file under `key`, and the evicted files.
    fn find(&mut self, key: &BlobKey) -> Option<(Arc<HotFile>, Generation)> {
        if let Some(file) = self.young.files.get(key) {
            return Some((Arc::clone(file), Generation::default()));
        }
        let (key, file) = self.old.remove(key)?;
        let evicted = self.insert(key, Arc::clone(&file));
        Some((file, evicted))
    }

    /// Inserts `file`, and returns the evicted files.
    fn insert(&mut self, key: BlobKey, file: Arc<HotFile>) -> Generation {
        self.old.remove(&key);
        self.young.remove(&key);
        let weight = file.weight(&key);
        let mut evicted = Generation::default();
        if self.young.weight + weight > CAPACITY / 2 {
            evicted = mem::replace(&mut self.old, mem::take(&mut self.young));
        }
        self.young.weight += weight;
        self.young.files.insert(key, file);
        evicted
    }
}

impl Generation {
    fn remove(&mut self, key: &BlobKey) -> Option<(BlobKey, Arc<HotFile>)> {
        let (key, file) = self.files.remove_entry(key)?;
        self.weight -= file.weight(&key);
        Some((key, file))
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::Bytes;

    use super::{HotFiles, Stamp, Stamps};
    use crate::{
        key::{BlobKey, Candidates},
        store::fs::version::Version,
        store::{BlobInfo, BlobStore as _, ByteRange, FsStore, GetResult, Upload},
    };

    fn key() -> BlobKey {
        BlobKey::from_path("ACC/DOC/message.mp3").unwrap()
    }

    async fn put(store: &FsStore, content: &'static str) {
        store.put(Upload::new(key(), content)).await.unwrap();
    }

    #[test]
    fn counts_the_memory_of_keys_from_long_targets() {
        let file = tempfile::tempfile().unwrap();
        let media = Stamp::of(&file.metadata().unwrap());
        let mut info = BlobInfo::new(1);
        info.content_type = Some(http::HeaderValue::from_static("audio/mpeg"));
        let hot = HotFiles::default();
        let tail = format!("/{}", "t".repeat(1000)).repeat(2);
        for number in 0..200 {
            let target = format!("{number}/{}.mp3{tail}", "n".repeat(900));
            let candidates = Candidates::from_path(&target).unwrap();
            let key = candidates.iter().find(|key| key.segments().len() == 2).unwrap();
            hot.keep(key, Stamps { media, sidecar: None }, &info, &Bytes::from_static(b"x"));
            // The key and the two paths.
            let cache = hot.lock();
            let weight = cache.young.weight / (number + 1);
            assert!((3 * 900..3 * 900 + 1500).contains(&weight), "{weight}");
            let (kept, _) = cache.young.files.get_key_value(key).unwrap();
            assert!(kept.shares_nothing(), "{kept}");
        }
        assert_eq!(hot.lock().young.files.len(), 200);
    }

    #[test]
    fn evicts_files_that_were_not_fetched_lately() {
        let file = tempfile::tempfile().unwrap();
        let media = Stamp::of(&file.metadata().unwrap());
        let key = |number: usize| BlobKey::from_path(&format!("ACC/DOC/{number}.mp3")).unwrap();
        let content = Bytes::from(vec![0; 64 << 10]);
        let hot = HotFiles::default();
        for number in 0..2000 {
            hot.keep(
                &key(number),
                Stamps { media, sidecar: None },
                &BlobInfo::new(1),
                &content,
            );
            let mut cache = hot.lock();
            assert!(cache.find(&key(0)).is_some(), "{number}");
            assert!(cache.find(&key(number)).is_some(), "{number}");
            assert!(cache.young.weight + cache.old.weight <= super::CAPACITY, "{number}");
        }
        let mut cache = hot.lock();
        assert!(cache.find(&key(1)).is_none());
        assert!(cache.young.files.len() + cache.old.files.len() > 200);
    }

    /// Fetches the content and the media type of the file.
    async fn fetched(store: &FsStore, range: Option<ByteRange>) -> (String, String) {
        let GetResult::Blob(mut blob) = store.get(&key(), range).await.unwrap() else {
            panic!("a redirect")
        };
        let content = blob.body.collect_up_to(100).await.unwrap().unwrap();
        let content_type = blob.info.content_type.unwrap();
        (
            String::from_utf8(content.to_vec()).unwrap(),
            content_type.to_str().unwrap().to_owned(),
        )
    }

    /// Fetches the file until it is cached.
    async fn warm_cache(store: &FsStore) {
        // The first fetch may have to read the sidecar from the disk.
        for _ in 0..2 {
            fetched(store, None).await;
        }
        let inner = store.inner();
        assert!(inner.hot.find(inner.tree.root(), &key()).is_some());
    }

    async fn hot(root: &Path) -> FsStore {
        let store = FsStore::options().durable(false).open(root).unwrap();
        put(&store, "first").await;
        warm_cache(&store).await;
        store
    }

    #[tokio::test]
    async fn serves_a_cached_file() {
        let root = tempfile::tempdir().unwrap();
        let store = hot(root.path()).await;
        let mp3 = || "audio/mpeg".to_owned();
        assert_eq!(fetched(&store, None).await, ("first".to_owned(), mp3()));
        let range = Some(ByteRange::FromTo(1, 3));
        assert_eq!(fetched(&store, range).await, ("irs".to_owned(), mp3()));
        let past = store.get(&key(), Some(ByteRange::From(5))).await.unwrap_err();
        assert_eq!(past.kind(), crate::ErrorKind::RangeNotSatisfiable);
    }

    #[tokio::test]
    async fn does_not_serve_a_file_that_an_upload_replaced() {
        let root = tempfile::tempdir().unwrap();
        let store = hot(root.path()).await;
        put(&store, "other").await;
        assert_eq!(fetched(&store, None).await.0, "other");
        let typed = Upload::new(key(), "other").with_content_type(http::HeaderValue::from_static("audio/ogg"));
        warm_cache(&store).await;
        store.put(typed).await.unwrap();
        assert_eq!(fetched(&store, None).await.1, "audio/ogg");
    }

    #[tokio::test]
    async fn does_not_serve_a_file_that_was_changed_by_hand() {
        let root = tempfile::tempdir().unwrap();
        let store = hot(root.path()).await;
        let dir = root.path().join("ACC/DOC");
        let media = dir.join("message.mp3");

        let version = Version::of(&fs::metadata(&media).unwrap()).unwrap();
        let sidecar = format!(r#"{{"version":"{version}","content_type":"audio/ogg"}}"#);
        fs::write(dir.join(".message.mp3.json"), sidecar).unwrap();
        assert_eq!(fetched(&store, None).await.1, "audio/ogg");

        warm_cache(&store).await;
        fs::write(&media, "OTHER").unwrap();
        assert_eq!(fetched(&store, None).await.0, "OTHER");

        put(&store, "first").await;
        warm_cache(&store).await;
        fs::remove_file(&media).unwrap();
        assert!(store.get(&key(), None).await.unwrap_err().is_not_found());
    }
}
