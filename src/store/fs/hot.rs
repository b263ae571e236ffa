//! [`HotFiles`]: the contents of small files that are fetched again and again, as a greeting is with every call.
//!
//! What is kept is used only while a look at the file and at its sidecar says that they still are what was read. So
//! what was replaced or removed, by an upload or by hand, is never served. The two looks cost less than half of opening
//! the two and reading them.

use std::{fs::File, sync::Arc};

use bytes::{Buf as _, Bytes};
use quick_cache::{Weighter, sync::Cache};

use super::{
    cached::{self, Stamp},
    name::KeyPath,
};
use crate::{
    body::Body,
    error::Result,
    key::BlobKey,
    store::{Blob, BlobInfo, ByteRange, Fetched},
};

/// How many bytes are kept, of all files together.
const CAPACITY: u64 = 32 << 20;

/// The approximate memory of a file, in bytes, apart from its heap allocations.
const OVERHEAD: usize = 512;

/// The approximate overhead of a heap allocation, in bytes.
const ALLOCATION: usize = 16;

/// What is known to be at a relative path.
#[derive(Debug)]
struct Known {
    path: Box<str>,
    stamp: Option<Stamp>,
}

impl Known {
    fn still_holds(&self, root: &File) -> bool {
        cached::is_still(root, &self.path, self.stamp)
    }
}

/// The stamps of a file and of its sidecar, if it has one, taken before they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) media: Stamp,
    pub(super) sidecar: Option<Stamp>,
}

/// A small file that was read whole.
#[derive(Debug)]
pub(super) struct HotFile {
    media: Known,
    sidecar: Known,
    info: BlobInfo,
    content: Bytes,
}

impl HotFile {
    /// The answer to a fetch of `range`.
    pub(super) fn fetch(&self, range: Option<ByteRange>) -> Result<Fetched> {
        let range = range.map_or(Ok(0..self.info.len), |range| range.of(self.info.len))?;
        let mut content = self.content.clone();
        content.truncate(usize::try_from(range.end).unwrap_or(usize::MAX));
        content.advance(usize::try_from(range.start).unwrap_or(usize::MAX).min(content.len()));
        Ok(Fetched::Blob(Blob::partial(
            self.info.clone(),
            range,
            Body::from(content),
        )))
    }
}

/// The small files that were fetched last and most.
#[derive(Debug)]
pub(super) struct HotFiles(Cache<BlobKey, Arc<HotFile>, ByLength>);

#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<BlobKey, Arc<HotFile>> for ByLength {
    fn weight(&self, key: &BlobKey, file: &Arc<HotFile>) -> u64 {
        let segments = key
            .segments()
            .map(|segment| size_of::<Box<str>>() + segment.len() + ALLOCATION);
        let headers = [&file.info.content_type, &file.info.etag];
        let headers = headers.into_iter().flatten().map(|value| value.len() + ALLOCATION);
        let paths = [&file.media.path, &file.sidecar.path].map(|path| path.len() + ALLOCATION);
        let held: usize = segments.chain(headers).chain(paths).sum();
        (OVERHEAD + held + file.content.len() + ALLOCATION) as u64
    }
}

impl HotFiles {
    pub(super) fn new() -> Self {
        let of_16_kib = usize::try_from(CAPACITY).unwrap_or(usize::MAX) / (16 << 10);
        Self(Cache::with_weighter(of_16_kib, CAPACITY, ByLength))
    }

    /// The file under `key`, if it is kept and the file below `root` is still the same.
    pub(super) fn find(&self, root: &File, key: &BlobKey) -> Option<Arc<HotFile>> {
        let file = self.0.get(key)?;
        (file.media.still_holds(root) && file.sidecar.still_holds(root)).then_some(file)
    }

    /// Keeps `content`, which is all of the file under `key`.
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
        self.0.insert(key.detached(), Arc::new(file));
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use bytes::Bytes;

    use super::{super::version::Version, HotFiles, Stamp, Stamps};
    use crate::{
        key::{BlobKey, Candidates},
        store::{BlobInfo, BlobStore as _, ByteRange, Fetched, FsStore, Upload},
    };

    fn key() -> BlobKey {
        BlobKey::from_path("ACC/DOC/message.mp3").unwrap()
    }

    async fn put(store: &FsStore, content: &'static str) {
        store.put(Upload::new(key(), content)).await.unwrap();
    }

    /// A cache full of files that were each fetched as part of a long target stays within its capacity.
    #[test]
    fn holds_no_more_than_its_capacity_however_long_the_targets_were() {
        let file = tempfile::tempfile().unwrap();
        let media = Stamp::of(&file.metadata().unwrap());
        let mut info = BlobInfo::new(1);
        info.content_type = Some(http::HeaderValue::from_static("audio/mpeg"));
        let hot = HotFiles::new();
        let tail = format!("/{}", "t".repeat(1000)).repeat(2);
        for number in 0..200 {
            let target = format!("{number}/{}.mp3{tail}", "n".repeat(900));
            let candidates = Candidates::from_path(&target).unwrap();
            let key = candidates.iter().find(|key| key.segments().len() == 2).unwrap();
            hot.keep(key, Stamps { media, sidecar: None }, &info, &Bytes::from_static(b"x"));
            // The key and the two paths.
            let weight = hot.0.weight() / (number + 1);
            assert!((3 * 900..3 * 900 + 1500).contains(&weight), "{weight}");
            let (kept, _) = hot.0.iter().find(|(kept, _)| kept == key).unwrap();
            assert!(kept.shares_nothing(), "{kept}");
        }
        assert_eq!(hot.0.len(), 200);
    }

    /// The content and the media type of the file, fetched.
    async fn fetched(store: &FsStore, range: Option<ByteRange>) -> (String, String) {
        let Fetched::Blob(mut blob) = store.get(&key(), range).await.unwrap() else {
            panic!("a redirect")
        };
        let content = blob.body.collect_up_to(100).await.unwrap().unwrap();
        let content_type = blob.info.content_type.unwrap();
        (
            String::from_utf8(content.to_vec()).unwrap(),
            content_type.to_str().unwrap().to_owned(),
        )
    }

    /// Fetches the file until it is kept.
    async fn heat(store: &FsStore) {
        // The first may have to read the sidecar from the disk, and the second has it in memory.
        for _ in 0..2 {
            fetched(store, None).await;
        }
        let inner = store.inner();
        assert!(inner.hot.find(inner.tree.root(), &key()).is_some());
    }

    async fn hot(root: &Path) -> FsStore {
        let store = FsStore::options().durable(false).open(root).unwrap();
        put(&store, "first").await;
        heat(&store).await;
        store
    }

    #[tokio::test]
    async fn what_is_kept_is_what_is_stored() {
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
    async fn what_an_upload_replaced_is_not_served_again() {
        let root = tempfile::tempdir().unwrap();
        let store = hot(root.path()).await;
        put(&store, "other").await;
        assert_eq!(fetched(&store, None).await.0, "other");
        let typed = Upload::new(key(), "other").with_content_type(http::HeaderValue::from_static("audio/ogg"));
        heat(&store).await;
        store.put(typed).await.unwrap();
        assert_eq!(fetched(&store, None).await.1, "audio/ogg");
    }

    #[tokio::test]
    async fn what_was_changed_by_hand_is_not_served_again() {
        let root = tempfile::tempdir().unwrap();
        let store = hot(root.path()).await;
        let dir = root.path().join("ACC/DOC");
        let media = dir.join("message.mp3");

        let version = Version::of(&fs::metadata(&media).unwrap()).unwrap();
        let sidecar = format!(r#"{{"version":"{version}","content_type":"audio/ogg"}}"#);
        fs::write(dir.join(".message.mp3.json"), sidecar).unwrap();
        assert_eq!(fetched(&store, None).await.1, "audio/ogg");

        heat(&store).await;
        fs::write(&media, "OTHER").unwrap();
        assert_eq!(fetched(&store, None).await.0, "OTHER");

        put(&store, "first").await;
        heat(&store).await;
        fs::remove_file(&media).unwrap();
        assert!(store.get(&key(), None).await.unwrap_err().is_not_found());
    }
}
