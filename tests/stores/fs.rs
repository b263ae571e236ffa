//! Guarantees of `FsStore` beyond the contract.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobCatalog, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, Metadata, Stored, Upload, digest::Digest,
    store::FsStore,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Notify;

fn open(root: &Path) -> FsStore {
    FsStore::options().durable(false).open(root).unwrap()
}

fn fresh() -> (FsStore, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (open(root.path()), root)
}

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn upload(path: &str, content: &'static str) -> Upload {
    Upload::new(key(path), content)
}

fn metadata(json: &'static str) -> Metadata {
    Metadata::from_json(json).unwrap()
}

async fn blob(store: &FsStore, path: &str) -> Blob {
    store.get(&key(path), None).await.unwrap().into_blob().unwrap()
}

async fn read(store: &FsStore, path: &str) -> Bytes {
    blob(store, path).await.body.collect().await.unwrap().to_bytes()
}

/// Returns every file and directory below `root` except the staging directory, sorted. Directories end with a slash.
fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if name == ".stage" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                found.push(format!("{name}/"));
                walk(root, &entry.path(), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

fn staged(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join(".stage")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name != "lock" && !name.starts_with("journal."))
        .collect()
}

#[tokio::test]
async fn stores_media_as_a_plain_file_beside_its_sidecar() {
    let (store, root) = fresh();
    let typed = upload("ACC/DOC/message.mp3", "ID3").with_content_type("audio/mpeg".parse().unwrap());
    store.put(typed).await.unwrap();
    store.put(upload("ACC/DOC/noname", "?")).await.unwrap();
    assert_eq!(
        tree(root.path()),
        [
            "ACC/",
            "ACC/DOC/",
            "ACC/DOC/.message.mp3.json",
            "ACC/DOC/.noname%file.json",
            "ACC/DOC/message.mp3",
            "ACC/DOC/noname%file"
        ]
    );
    assert_eq!(fs::read(root.path().join("ACC/DOC/message.mp3")).unwrap(), b"ID3");
    let implied = blob(&store, "ACC/DOC/noname").await.info.content_type;
    assert_eq!(implied.unwrap(), "application/octet-stream");
    assert_eq!(staged(root.path()), [""; 0]);
}

#[tokio::test]
async fn writes_a_sidecar_as_readable_json() {
    use std::os::unix::fs::MetadataExt as _;
    let (store, root) = fresh();
    let document = r#"{"id":"DOC","metadata":{"call_id":"b3f6"}}"#;
    for content in ["first", "second!"] {
        let upload = upload("ACC/DOC/message.mp3", content).with_metadata(metadata(document));
        store
            .put(upload.with_content_type("audio/x-other".parse().unwrap()))
            .await
            .unwrap();
    }
    assert_eq!(
        tree(root.path()),
        ["ACC/", "ACC/DOC/", "ACC/DOC/.message.mp3.json", "ACC/DOC/message.mp3"]
    );
    let text = fs::read_to_string(root.path().join("ACC/DOC/.message.mp3.json")).unwrap();
    assert!(text.contains(document), "{text}");
    let stat = fs::metadata(root.path().join("ACC/DOC/message.mp3")).unwrap();
    let version = format!("{}.{:09}-{}", stat.mtime(), stat.mtime_nsec(), stat.len());
    let mut sidecar: Value = serde_json::from_str(&text).unwrap();
    let previous = sidecar.as_object_mut().unwrap().remove("previous").unwrap();
    let crc32 = sidecar.as_object_mut().unwrap().remove("crc32").unwrap();
    assert_eq!(crc32.as_str().unwrap().len(), 8);
    assert_eq!(
        sidecar,
        json!({
            "version": version,
            // printf 'second!' | sha256sum
            "sha256": "d8470465f9e7614921a043dd05deb31e1f8926c516afc00432359aa2ebb07d30",
            "content_type": "audio/x-other",
            "metadata": {"id": "DOC", "metadata": {"call_id": "b3f6"}},
        })
    );
    assert!(previous["version"].as_str().unwrap().ends_with("-5"), "{previous}");
    assert_eq!(previous.get("previous"), None, "older entries are dropped");
    let info = blob(&store, "ACC/DOC/message.mp3").await.info;
    assert_eq!(info.digest, Some(Digest::of(b"second!")));
    assert_eq!(info.etag.unwrap(), format!("\"{}\"", Digest::of(b"second!")));
}

#[tokio::test]
async fn encodes_names_that_a_file_cannot_have() {
    let (store, root) = fresh();
    let long = format!("{}é{}", "n".repeat(238), "z".repeat(300));
    for name in ["../up", "50%", ".hidden", "..mp3", "grüße.wav", &long] {
        let key = BlobKey::from_segments(["A", name]).unwrap();
        store.put(Upload::new(key.clone(), name.to_owned())).await.unwrap();
        let fetched = store.get(&key, None).await.unwrap().into_blob().unwrap();
        assert_eq!(fetched.body.collect().await.unwrap().to_bytes(), name.as_bytes());
    }
    let n = "n".repeat(238);
    let mut expected = vec![
        "A/".to_owned(),
        "A/%2E.mp3".to_owned(),
        "A/%2Ehidden%file".to_owned(),
        "A/..%2Fup".replace("..", "%2E."),
        "A/50%25%file".to_owned(),
        "A/grüße.wav".to_owned(),
        format!("A/{n}%/"),
        format!("A/{n}%/é{}%/", "z".repeat(237)),
        format!("A/{n}%/é{}%/{}%file", "z".repeat(237), "z".repeat(63)),
    ];
    expected.sort();
    let mut media = tree(root.path());
    media.retain(|path| !path.contains("/."));
    assert_eq!(media, expected);
}

#[tokio::test]
async fn stores_a_file_and_files_beneath_it_side_by_side() {
    let (store, root) = fresh();
    for path in ["ACC", "ACC/v1.2", "ACC/v1.2/a.mp3", "ACC/v1.2/a.mp3/b"] {
        store.put(upload(path, "content")).await.unwrap();
    }
    let mut media = tree(root.path());
    media.retain(|path| !path.contains("/.") && !path.starts_with('.'));
    assert_eq!(
        media,
        [
            "ACC%file",
            "ACC/",
            "ACC/v1.2",
            "ACC/v1.2%dir/",
            "ACC/v1.2%dir/a.mp3",
            "ACC/v1.2%dir/a.mp3%dir/",
            "ACC/v1.2%dir/a.mp3%dir/b%file"
        ]
    );
}

#[tokio::test]
async fn refuses_an_upload_if_something_else_is_at_its_path() {
    for (by_hand, position, is_directory) in [
        ("ACC/DOC/message.mp3/x", 3, true),
        ("ACC/DOC/.message.mp3.json/x", 3, true),
        ("ACC", 1, false),
    ] {
        let root = tempfile::tempdir().unwrap();
        let store = FsStore::open(root.path()).unwrap();
        let path = root.path().join(by_hand);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "by hand").unwrap();
        let before = tree(root.path());
        for _ in 0..2 {
            let error = store.put(upload("ACC/DOC/message.mp3", "ID3")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            let what = if is_directory { "is a directory" } else { "is a file" };
            let message = error.message();
            assert!(message.contains(&format!("name {position} of its path")), "{message}");
            assert!(message.contains(what) && !message.contains("ACC"), "{message}");
        }
        let absent = store.head(&key("ACC/DOC/message.mp3")).await.unwrap_err();
        assert!(absent.is_not_found(), "{absent}");
        drop(store);
        // A recovery does not apply the refused upload.
        drop(FsStore::open(root.path()).unwrap());
        assert_eq!(tree(root.path()), before);
        assert_eq!(staged(root.path()), [""; 0]);
    }
}

/// With the longest root, the path has space for the directory of a backup.
#[tokio::test]
async fn bounds_the_paths_of_the_longest_keys() {
    const PATH_MAX: usize = 4096;
    let (store, root) = fresh();
    let mut longest = 0;
    // Plain names, as many marks as possible, and the escapes that take the most.
    for unit in ["x", "x.", "%", "/", "%.", "é", "."] {
        let (mut stored, mut refused) = (0, 0);
        for count in [2, 32] {
            for len in [200, 700, 840, 1000, 1500, BlobKey::MAX_LEN] {
                let each = (len / count).saturating_sub(2).min(1000) / unit.len();
                let segments = vec![format!("y{}y", unit.repeat(each)); count];
                let Ok(key) = BlobKey::from_segments(&segments) else {
                    continue;
                };
                let before = tree(root.path());
                match store.put(Upload::new(key.clone(), "content")).await {
                    Ok(_) => {
                        stored += 1;
                        let doubled = kazoo_storage::key::Candidates::from_path(&format!("{key}/{key}")).unwrap();
                        store.head(doubled.first()).await.unwrap();
                        longest = tree(root.path()).iter().map(String::len).fold(longest, usize::max);
                        BlobCatalog::delete(&store, &key).await.unwrap();
                    }
                    Err(error) => {
                        refused += 1;
                        assert_eq!(error.kind(), ErrorKind::InvalidKey, "{error}");
                        assert!(store.head(&key).await.unwrap_err().is_not_found());
                    }
                }
                assert_eq!(tree(root.path()), before);
                assert_eq!(staged(root.path()), [""; 0]);
            }
        }
        assert!(stored > 0, "{unit}");
        assert_eq!(refused > 0, unit.contains(['%', '/']), "{unit}");
    }
    let longest_root = 1024;
    assert!((2300..=PATH_MAX - longest_root - 512).contains(&longest), "{longest}");
}

#[test]
fn refuses_a_root_whose_path_is_too_long() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("d/".repeat(500)).join("x".repeat(100));
    let error = FsStore::open(&deep).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("at most 1024"), "{error}");
}

#[tokio::test]
async fn tolerates_the_removal_of_directories_during_uploads() {
    let (store, root) = fresh();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let sweeper = std::thread::spawn({
        let (stop, dir) = (Arc::clone(&stop), root.path().join("ACC"));
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::remove_dir(dir.join("DOC"));
                let _ = fs::remove_dir(&dir);
            }
        }
    });
    let mut failed = 0;
    for _ in 0..200 {
        match store.put(upload("ACC/DOC/d.mp3", "content")).await {
            Ok(_) => {
                assert_eq!(read(&store, "ACC/DOC/d.mp3").await, "content");
                fs::remove_file(root.path().join("ACC/DOC/d.mp3")).unwrap();
            }
            // Every attempt of one upload failed.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                failed += 1;
            }
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    sweeper.join().unwrap();
    assert!(failed < 200, "every upload failed");
}

#[tokio::test]
async fn never_follows_a_link() {
    let (store, root) = fresh();
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("DOC")).unwrap();
    let precious = elsewhere.path().join("DOC/precious.mp3");
    fs::write(&precious, "kept").unwrap();
    fs::create_dir(root.path().join("REAL")).unwrap();
    symlink(elsewhere.path(), root.path().join("ACC")).unwrap();
    symlink(elsewhere.path().join("DOC"), root.path().join("REAL/DOC")).unwrap();
    symlink(&precious, root.path().join("REAL/precious.mp3")).unwrap();
    symlink(elsewhere.path().join("nowhere"), root.path().join("REAL/dangling.mp3")).unwrap();
    for path in [
        "ACC/DOC/precious.mp3",
        "ACC/new/new.mp3",
        "REAL/DOC/precious.mp3",
        "REAL/DOC/new.mp3",
        "REAL/precious.mp3",
        "REAL/dangling.mp3",
    ] {
        let put = store.put(upload(path, "changed")).await.map(drop);
        let get = store.get(&key(path), None).await.map(drop);
        for result in [put, get] {
            let error = result.expect_err(path);
            assert_eq!(error.kind(), ErrorKind::Conflict, "{path}");
            assert!(error.message().contains("symbolic link"), "{error}");
            assert!(
                !error.message().contains(&*elsewhere.path().to_string_lossy()),
                "{error}"
            );
        }
    }
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
    assert_eq!(tree(elsewhere.path()), ["DOC/", "DOC/precious.mp3"]);
    assert_eq!(staged(root.path()), [""; 0]);
}

#[tokio::test]
async fn ignores_a_link_in_place_of_a_sidecar() {
    let (store, root) = fresh();
    let elsewhere = tempfile::tempdir().unwrap();
    let precious = elsewhere.path().join("precious.json");
    fs::write(&precious, "kept").unwrap();
    store.put(upload("message.mp3", "content")).await.unwrap();
    let sidecar = root.path().join(".message.mp3.json");
    fs::remove_file(&sidecar).unwrap();
    symlink(&precious, &sidecar).unwrap();
    assert_eq!(store.metadata(&key("message.mp3")).await.unwrap(), None);
    let second = upload("message.mp3", "second").with_metadata(metadata("{}"));
    store.put(second).await.unwrap();
    assert_eq!(store.metadata(&key("message.mp3")).await.unwrap(), Some(metadata("{}")));
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
}

#[tokio::test]
async fn refuses_special_files_without_hanging() {
    let (store, root) = fresh();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("socket.mp3")).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(root.path().join("socket")).unwrap();
    for path in ["socket.mp3", "socket/beneath"] {
        let error = store.put(upload(path, "content")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let error = store.get(&key(path), None).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
}

#[tokio::test]
async fn locks_the_root_and_removes_leftovers_of_the_last_store() {
    let (store, root) = fresh();
    store.put(upload("message.mp3", "content")).await.unwrap();
    fs::write(root.path().join(".stage/77"), "left by a crash").unwrap();
    let error = FsStore::open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(staged(root.path()), ["77"]);
    let clone = store.clone();
    drop(store);
    FsStore::open(root.path()).expect_err("a clone is the same store");
    drop(clone);
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(staged(root.path()), [""; 0]);
    assert_eq!(read(&store, "message.mp3").await, "content");
}

#[tokio::test]
async fn reports_a_removed_root_as_unavailable() {
    let root = tempfile::tempdir().unwrap();
    let store = open(&root.path().join("root"));
    fs::remove_dir_all(root.path().join("root")).unwrap();
    for error in [
        store.put(upload("ACC/message.mp3", "content")).await.unwrap_err(),
        store.check().await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_check_reports_a_root_in_which_no_directory_can_be_created() {
    let above = tempfile::tempdir().unwrap();
    let root = above.path().join("root");
    let store = open(&root);
    store.check().await.unwrap();
    fs::rename(root.join(".stage"), above.path().join("stage")).unwrap();
    fs::remove_dir(&root).unwrap();
    let error = store.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.message().contains("create a directory in its root"), "{error}");
    assert_eq!(fs::read_dir(above.path().join("stage")).unwrap().count(), 1, "the lock");
}

#[tokio::test]
async fn reports_a_read_only_root_as_unavailable() {
    let (store, root) = fresh();
    let may = |mode| fs::set_permissions(root.path(), fs::Permissions::from_mode(mode)).unwrap();
    may(0o500);
    // Permissions do not apply to root.
    let free = fs::create_dir(root.path().join("other")).is_ok();
    let checked = store.check().await;
    // A directory that a crash left does not make the check pass.
    may(0o700);
    fs::create_dir(root.path().join(".check")).unwrap();
    may(0o500);
    let again = store.check().await;
    may(0o700);
    for checked in [checked, again] {
        match checked {
            Ok(()) => assert!(free, "it cannot write there"),
            Err(error) => {
                assert!(!free && error.kind() == ErrorKind::Unavailable, "{error}");
                assert!(error.message().contains("server's user"), "{error}");
            }
        }
    }
    store.check().await.unwrap();
    assert!(!root.path().join(".check").exists(), "and goes with the next check");
}

#[test]
fn runs_checks_beside_uploads_and_listings() {
    let (store, root) = fresh();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut checks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            checks.spawn(async move {
                for _ in 0..50 {
                    store.check().await.unwrap();
                }
            });
        }
        for number in 0..50 {
            store
                .put(upload(&format!("ACC{number}/DOC/a.mp3"), "content"))
                .await
                .unwrap();
            let entries: Vec<_> = BlobCatalog::list(&store, None).collect().await;
            assert_eq!(entries.len(), number + 1);
            assert!(entries.iter().all(Result::is_ok), "{entries:?}");
        }
        checks.join_all().await;
    });
    assert!(!root.path().join(".check").exists());
}

#[test]
fn reports_why_a_root_cannot_be_opened() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    for (bad, says) in [
        (file.as_path(), "its root is a file, not a directory"),
        (
            &file.join("below"),
            "failed to create its root directory: Not a directory",
        ),
        #[cfg(target_os = "linux")]
        (Path::new("/proc/none"), "failed to create its root directory: "),
        #[cfg(target_os = "linux")]
        (Path::new("/proc"), "failed to create its staging directory: "),
    ] {
        let error = FsStore::open(bad).unwrap_err();
        assert!(error.message().contains(says), "{error}");
    }
}

#[tokio::test]
async fn creates_the_root_and_follows_a_link_to_it() {
    let root = tempfile::tempdir().unwrap();
    drop(open(&root.path().join("a/b")));
    symlink(root.path().join("a/b"), root.path().join("link")).unwrap();
    let store = open(&root.path().join("link"));
    store.put(upload("message.mp3", "content")).await.unwrap();
    assert!(root.path().join("a/b/message.mp3").exists());
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    FsStore::open(&file).expect_err("a root that is a file");
}

#[test]
fn a_dropped_upload_leaves_nothing_staged() {
    // More than the store buffers, so that a file is staged.
    for len in [10, 700_000] {
        let (store, root) = fresh();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reached = Arc::new(Notify::new());
            let body = hanging(Bytes::from(vec![7; len]), Arc::clone(&reached));
            let task = tokio::spawn({
                let store = store.clone();
                async move { store.put(Upload::new(key("ACC/DOC/message.mp3"), body)).await }
            });
            reached.notified().await;
            assert_eq!(staged(root.path()).len(), usize::from(len > 128 * 1024));
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        });
        // Waits for the blocking threads.
        drop(runtime);
        assert_eq!(staged(root.path()), [""; 0]);
        assert_eq!(tree(root.path()), [""; 0]);
    }
}

/// Returns a body that yields `content` in small chunks, notifies `reached`, and never ends.
fn hanging(content: Bytes, reached: Arc<Notify>) -> Body {
    struct Hanging(Bytes, Arc<Notify>);
    impl http_body::Body for Hanging {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
            if self.0.is_empty() {
                self.1.notify_one();
                return std::task::Poll::Pending;
            }
            let len = self.0.len().min(5_000);
            std::task::Poll::Ready(Some(Ok(http_body::Frame::data(self.0.split_to(len)))))
        }
    }
    Body::new(Hanging(content, reached))
}

/// Returns a body of these chunks that ends with an error.
fn failing(chunks: Vec<Bytes>) -> Body {
    struct Chunks(std::vec::IntoIter<Bytes>, bool);
    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = Error;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
            std::task::Poll::Ready(match self.0.next() {
                Some(chunk) => Some(Ok(http_body::Frame::data(chunk))),
                None if self.1 => None,
                None => {
                    self.1 = true;
                    Some(Err(Error::new(ErrorKind::IncompleteBody, "cut")))
                }
            })
        }
    }
    Body::new(Chunks(chunks.into_iter(), false))
}

#[tokio::test]
async fn a_failed_upload_leaves_the_old_pair_and_nothing_staged() {
    let (store, root) = fresh();
    let old = upload("ACC/DOC/message.mp3", "old").with_metadata(metadata(r#"{"n":1}"#));
    store.put(old).await.unwrap();
    let before = tree(root.path());
    for chunks in [1, 20] {
        let body = failing(vec![Bytes::from(vec![1; 50_000]); chunks]);
        let new = Upload::new(key("ACC/DOC/message.mp3"), body).with_metadata(metadata(r#"{"n":2}"#));
        let error = store.put(new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IncompleteBody);
        assert_eq!(read(&store, "ACC/DOC/message.mp3").await, "old");
        let kept = store.metadata(&key("ACC/DOC/message.mp3")).await.unwrap();
        assert_eq!(kept, Some(metadata(r#"{"n":1}"#)));
        assert_eq!(staged(root.path()), [""; 0]);
    }
    // A failed upload creates no directories.
    store
        .put(Upload::new(key("NEW/DOC/d.mp3"), failing(vec![])))
        .await
        .unwrap_err();
    assert_eq!(tree(root.path()), before);
}

#[tokio::test]
async fn keeps_metadata_if_an_archive_preserves_whole_seconds_only() {
    let (store, root) = fresh();
    let upload = upload("message.mp3", "content").with_metadata(metadata(r#"{"n":1}"#));
    store.put(upload).await.unwrap();
    let file = fs::File::options()
        .write(true)
        .open(root.path().join("message.mp3"))
        .unwrap();
    let stamp = file.metadata().unwrap().modified().unwrap();
    let whole = stamp.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let whole = std::time::UNIX_EPOCH + std::time::Duration::from_secs(whole);
    file.set_modified(whole).unwrap();
    assert_eq!(
        store.metadata(&key("message.mp3")).await.unwrap(),
        Some(metadata(r#"{"n":1}"#))
    );
    // The metadata does not belong to content that another program wrote.
    file.set_modified(whole - std::time::Duration::from_secs(1)).unwrap();
    assert_eq!(store.metadata(&key("message.mp3")).await.unwrap(), None);
    assert_eq!(read(&store, "message.mp3").await, "content");
}

#[tokio::test]
async fn serves_and_replaces_media_that_was_not_uploaded() {
    let (store, root) = fresh();
    fs::create_dir(root.path().join("ACC")).unwrap();
    fs::write(root.path().join("ACC/by hand.wav"), "RIFF").unwrap();
    fs::write(root.path().join("ACC/.by hand.wav.json"), "not JSON").unwrap();
    let found = blob(&store, "ACC/by%20hand.wav").await;
    assert_eq!(found.info.content_type.unwrap(), "audio/x-wav");
    assert_eq!(store.metadata(&key("ACC/by%20hand.wav")).await.unwrap(), None);
    let stored = store.put(upload("ACC/by%20hand.wav", "new")).await.unwrap();
    assert_eq!(stored, Stored::Replaced);
    assert_eq!(read(&store, "ACC/by%20hand.wav").await, "new");
}

#[tokio::test]
async fn a_body_fails_if_the_file_is_cut_short() {
    let (store, root) = fresh();
    let content = Bytes::from(vec![9; 1 << 20]);
    store.put(Upload::new(key("large.wav"), content)).await.unwrap();
    let found = blob(&store, "large.wav").await;
    let file = fs::File::options()
        .write(true)
        .open(root.path().join("large.wav"))
        .unwrap();
    file.set_len(300_000).unwrap();
    let error = found.body.collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn reads_a_large_file_in_chunks_and_seeks_to_a_range() {
    let (store, root) = fresh();
    // A sparse file of 1 TiB, which is too long to read.
    let file = fs::File::create(root.path().join("huge.wav")).unwrap();
    file.set_len(1 << 40).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"the end", (1 << 40) - 7).unwrap();
    let range = Some(ByteRange::Last(200_007));
    let found = store.get(&key("huge.wav"), range).await.unwrap().into_blob().unwrap();
    assert_eq!(http_body::Body::size_hint(&found.body).exact(), Some(200_007));
    let mut body = found.body;
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        chunks.push(frame.unwrap().into_data().unwrap());
    }
    let sizes: Vec<_> = chunks.iter().map(Bytes::len).collect();
    assert_eq!(sizes, [128 * 1024, 200_007 - 128 * 1024]);
    assert!(chunks.concat().ends_with(b"the end"));
}

#[tokio::test]
async fn creates_files_for_owner_and_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let (store, root) = fresh();
    let upload = upload("ACC/message.mp3", "content").with_metadata(metadata("{}"));
    store.put(upload).await.unwrap();
    for (path, at_most) in [
        ("ACC", 0o750),
        ("ACC/message.mp3", 0o640),
        ("ACC/.message.mp3.json", 0o640),
    ] {
        let mode = fs::metadata(root.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777 & !at_most, 0, "{path} has mode {mode:o}");
    }
}

/// Flips one bit of the file at `path`, and keeps its modification time.
pub(crate) fn rot(path: &Path) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(modified).unwrap();
}

#[tokio::test]
async fn does_not_serve_damaged_media_if_it_verifies() {
    let root = tempfile::tempdir().unwrap();
    let media = root.path().join("ACC/DOC/message.mp3");
    let cut = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(4).unwrap();
    };
    let break_sidecar = |_: &Path| {
        let path = root.path().join("ACC/DOC/.message.mp3.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replacen("audio/mpeg", "audio/mpeH", 1)).unwrap();
    };
    let damages: [&dyn Fn(&Path); 3] = [&rot, &cut, &break_sidecar];
    for len in [10_u32, 64 << 10, 300_000] {
        let content: Vec<u8> = (0..len).map(|n| n.to_le_bytes()[0]).collect();
        for (which, damage) in damages.into_iter().enumerate() {
            let verifying = FsStore::options().verify(true).open(root.path()).unwrap();
            let upload = Upload::new(key("ACC/DOC/message.mp3"), Bytes::from(content.clone()));
            let upload = upload.with_content_type("audio/mpeg".parse().unwrap());
            verifying.put(upload).await.unwrap();
            // The second fetch may use the cache.
            for _ in 0..2 {
                let whole = blob(&verifying, "ACC/DOC/message.mp3")
                    .await
                    .body
                    .collect()
                    .await
                    .unwrap();
                assert_eq!(whole.to_bytes(), content);
                // A part has no digest.
                let part = verifying
                    .get(&key("ACC/DOC/message.mp3"), Some(ByteRange::From(5)))
                    .await;
                let part = part.unwrap().into_blob().unwrap().body.collect().await.unwrap();
                assert_eq!(part.to_bytes(), content[5..]);
            }

            damage(&media);
            let fetched = verifying.get(&key("ACC/DOC/message.mp3"), None).await;
            let error = match fetched {
                // The body may have started.
                Ok(fetched) => fetched.into_blob().unwrap().body.collect().await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::Damaged, "{len} {which}: {error}");
            drop(verifying);

            let trusting = FsStore::open(root.path()).unwrap();
            blob(&trusting, "ACC/DOC/message.mp3")
                .await
                .body
                .collect()
                .await
                .unwrap();
        }
    }
}
