//! Recovery of a durable `FsStore` after crashes.
//!
//! A power cut is played: the journal is as it was at that moment, and everything else that was not synced is gone.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kazoo_storage::{
    BlobCatalog as _, BlobKey, BlobStore as _, Fetched, FsStore, Metadata, Upload,
    store::{FsScrub, Verdict},
};
use tempfile::TempDir;

const SEGMENTS: [&str; 2] = [".stage/journal.0", ".stage/journal.1"];

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

async fn put(store: &FsStore, path: &str, content: Vec<u8>, json: Option<&'static str>) {
    let mut upload = Upload::new(key(path), bytes::Bytes::from(content));
    upload.metadata = json.map(|json| Metadata::from_json(json).unwrap());
    store.put(upload).await.unwrap();
}

async fn get(store: &FsStore, path: &str) -> (Vec<u8>, Option<String>) {
    let Fetched::Blob(blob) = store.get(&key(path), None).await.unwrap() else {
        panic!("a redirect")
    };
    let content = http_body_util::BodyExt::collect(blob.body).await.unwrap().to_bytes();
    let metadata = store.metadata(&key(path)).await.unwrap();
    let json = metadata.map(|metadata| String::from_utf8(metadata.as_json().to_vec()).unwrap());
    (content.to_vec(), json)
}

/// Reads the segments of the journal.
fn journal(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = SEGMENTS.map(|segment| root.join(segment));
    paths.map(|path| (path.clone(), fs::read(&path).unwrap())).into()
}

/// Closes the store, and restores the segments in `journal`.
fn power_cut(store: FsStore, journal: &[(PathBuf, Vec<u8>)]) {
    drop(store);
    for (path, content) in journal {
        assert_eq!(
            fs::read(path).unwrap(),
            b"",
            "nothing is left to do after an orderly end"
        );
        fs::write(path, content).unwrap();
    }
}

/// Returns the name of the first staged file in the `journal`.
fn staged_name(journal: &[(PathBuf, Vec<u8>)]) -> String {
    let text = journal
        .iter()
        .map(|(_, text)| String::from_utf8_lossy(text))
        .collect::<String>();
    let (_, name) = text.split_once(r#""staged":""#).unwrap();
    name.split_once('"').unwrap().0.to_owned()
}

/// Returns the head and the rest of each record in a segment.
fn records(mut segment: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::new();
    while !segment.is_empty() {
        let number = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
        let (head, rest) = (number(8), number(12));
        let body = &segment[20..];
        records.push((
            String::from_utf8(body[..head].to_vec()).unwrap(),
            body[head..head + rest].to_vec(),
        ));
        segment = &body[head + rest..];
    }
    records
}

/// Returns a segment of the same epoch with these records, one of which may be broken.
fn sealed(segment: &[u8], records: &[(String, Vec<u8>)], broken: Option<usize>) -> Vec<u8> {
    let mut sealed = Vec::new();
    for (number, (head, rest)) in records.iter().enumerate() {
        let mut prefix = segment[..8].to_vec();
        prefix.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
        prefix.extend(u32::try_from(rest.len()).unwrap().to_le_bytes());
        let body = crc32fast::hash(&[head.as_bytes(), rest].concat());
        let checksum = crc32fast::hash(&[&*prefix, &body.to_le_bytes()].concat());
        let checksum = checksum ^ if broken == Some(number) { 0x0100 } else { 0 };
        sealed.extend([&*prefix, &checksum.to_le_bytes(), head.as_bytes(), rest].concat());
    }
    sealed
}

fn fresh() -> (FsStore, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (FsStore::open(root.path()).unwrap(), root)
}

#[tokio::test]
async fn keeps_every_acknowledged_upload_with_its_metadata() {
    let (store, root) = fresh();
    let long = vec![7; 300_000];
    put(&store, "ACC/ONE/message.mp3", b"old".to_vec(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/ONE/message.mp3", b"new".to_vec(), Some(r#"{"n":2}"#)).await;
    put(&store, "ACC/TWO/lost.mp3", b"raw".to_vec(), None).await;
    put(&store, "ACC/TWO/cut.mp3", vec![1; 1000], Some(r#"{"n":3}"#)).await;
    put(&store, "ACC/TWO/long.mp3", long.clone(), Some(r#"{"n":4}"#)).await;
    put(&store, "ACC/TWO/moved.mp3", long.clone(), Some(r#"{"n":5}"#)).await;
    put(&store, "ACC/TWO/removed.mp3", long.clone(), Some(r#"{"n":6}"#)).await;
    put(&store, "ACC/TWO/zeros.mp3", vec![2; 1000], None).await;
    put(&store, "empty.mp3", Vec::new(), None).await;
    let journal = journal(root.path());
    power_cut(store, &journal);

    let at = |path: &str| root.path().join(path);
    // A directory that is not on the disk, a file without its bytes, and one with other bytes.
    fs::remove_dir_all(at("ACC/ONE")).unwrap();
    fs::remove_file(at("ACC/TWO/lost.mp3")).unwrap();
    fs::remove_file(at("empty.mp3")).unwrap();
    let stored = fs::metadata(at("ACC/TWO/cut.mp3")).unwrap().modified().unwrap();
    fs::write(at("ACC/TWO/cut.mp3"), [0; 400]).unwrap();
    fs::File::open(at("ACC/TWO/cut.mp3"))
        .unwrap()
        .set_modified(stored)
        .unwrap();
    fs::remove_file(at("ACC/TWO/.cut.mp3.json")).unwrap();
    // A file with the right length.
    let stored = fs::metadata(at("ACC/TWO/zeros.mp3")).unwrap().modified().unwrap();
    fs::write(at("ACC/TWO/zeros.mp3"), [0; 1000]).unwrap();
    fs::File::open(at("ACC/TWO/zeros.mp3"))
        .unwrap()
        .set_modified(stored)
        .unwrap();
    // Long media is synced as a staged file, and its move may be lost.
    fs::rename(at("ACC/TWO/long.mp3"), at(".stage").join(staged_name(&journal))).unwrap();
    // Here only the move of the sidecar is lost.
    fs::write(at("ACC/TWO/.moved.mp3.json"), "").unwrap();
    // Here the staged file does not exist.
    fs::remove_file(at("ACC/TWO/removed.mp3")).unwrap();
    fs::remove_file(at("ACC/TWO/.removed.mp3.json")).unwrap();
    // An unfinished upload.
    fs::write(at(".stage/0"), "half").unwrap();

    for _ in 0..2 {
        let store = FsStore::open(root.path()).unwrap();
        let pair = |content: &[u8], json: &str| (content.to_vec(), Some(json.to_owned()));
        assert_eq!(get(&store, "ACC/ONE/message.mp3").await, pair(b"new", r#"{"n":2}"#));
        assert_eq!(get(&store, "ACC/TWO/lost.mp3").await, (b"raw".to_vec(), None));
        assert_eq!(get(&store, "ACC/TWO/cut.mp3").await, pair(&[1; 1000], r#"{"n":3}"#));
        assert_eq!(get(&store, "ACC/TWO/long.mp3").await, pair(&long, r#"{"n":4}"#));
        assert_eq!(get(&store, "ACC/TWO/moved.mp3").await, pair(&long, r#"{"n":5}"#));
        assert_eq!(get(&store, "ACC/TWO/zeros.mp3").await, (vec![2; 1000], None));
        assert_eq!(get(&store, "empty.mp3").await, (Vec::new(), None));
        assert!(!at("ACC/TWO/.removed.mp3.json").exists());
        let names = fs::read_dir(at(".stage"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert_eq!(names.count(), SEGMENTS.len() + 1, "the journal and the lock");
        // A replay can be repeated.
        power_cut(store, &journal);
    }
}

#[tokio::test]
async fn recovers_the_last_content_of_each_key_from_reused_segments() {
    let (store, root) = fresh();
    let content = |key: usize, turn: usize| vec![u8::try_from(key * 10 + turn).unwrap(); 60_000];
    // About 36 MB, so that both segments are reused.
    for turn in 0..6 {
        for number in 0..100 {
            put(
                &store,
                &format!("ACC/{number}/message.mp3"),
                content(number % 20, turn),
                None,
            )
            .await;
        }
    }
    let journal = journal(root.path());
    let len: usize = journal.iter().map(|(_, text)| text.len()).sum();
    assert!((9 << 20..18 << 20).contains(&len), "{len}");
    power_cut(store, &journal);
    let last = |number: usize| root.path().join(format!("ACC/{number}/message.mp3"));
    for number in 80..100 {
        fs::write(last(number), "").unwrap();
        fs::File::open(last(number))
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
    }
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    for number in 0..100 {
        let path = format!("ACC/{number}/message.mp3");
        assert_eq!(get(&store, &path).await.0, content(number % 20, 5), "{number}");
    }
    assert!(
        SEGMENTS
            .iter()
            .all(|segment| fs::read(root.path().join(segment)).unwrap().is_empty())
    );
}

#[tokio::test]
async fn drops_a_torn_record_and_applies_those_before_it() {
    let (store, root) = fresh();
    put(&store, "ACC/ONE/message.mp3", b"whole".to_vec(), None).await;
    put(&store, "ACC/TWO/message.mp3", b"torn".to_vec(), None).await;
    let mut journal = journal(root.path());
    let torn = journal.iter_mut().max_by_key(|(_, text)| text.len()).unwrap();
    torn.1.pop();
    power_cut(store, &journal);
    fs::remove_dir_all(root.path().join("ACC")).unwrap();
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(get(&store, "ACC/ONE/message.mp3").await.0, b"whole");
    let torn = store.get(&key("ACC/TWO/message.mp3"), None).await;
    assert!(torn.unwrap_err().is_not_found());
}

#[tokio::test]
async fn keeps_files_that_were_replaced_by_hand() {
    let (store, root) = fresh();
    put(&store, "ACC/DOC/message.mp3", b"uploaded".to_vec(), None).await;
    let journal = journal(root.path());
    power_cut(store, &journal);
    let media = root.path().join("ACC/DOC/message.mp3");
    fs::write(&media, "by hand").unwrap();
    let later = SystemTime::now() + Duration::from_secs(1);
    fs::File::open(&media).unwrap().set_modified(later).unwrap();
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(get(&store, "ACC/DOC/message.mp3").await.0, b"by hand");
}

#[tokio::test]
async fn keeps_an_upload_over_content_from_the_future() {
    let (store, root) = fresh();
    let media = root.path().join("ACC/DOC/message.mp3");
    fs::create_dir_all(media.parent().unwrap()).unwrap();
    fs::write(&media, "by hand").unwrap();
    let future = SystemTime::now() + Duration::from_secs(1_000_000);
    fs::File::open(&media).unwrap().set_modified(future).unwrap();
    put(&store, "ACC/DOC/message.mp3", b"after the future".to_vec(), None).await;
    fs::remove_file(&media).unwrap();
    put(&store, "ACC/DOC/message.mp3", vec![7; 300_000], None).await;
    let journal = journal(root.path());
    power_cut(store, &journal);
    let store = FsStore::open(root.path()).unwrap();
    assert_eq!(get(&store, "ACC/DOC/message.mp3").await.0, vec![7; 300_000]);
}

/// Records that cannot be applied because something else is at their paths.
#[tokio::test]
async fn sets_aside_changes_that_cannot_be_applied() {
    let elsewhere = tempfile::tempdir().unwrap();
    let long = vec![7; 300_000];
    let directory: &dyn Fn(&Path) = &|path| fs::create_dir(path).unwrap();
    let symlink: &dyn Fn(&Path) = &|path| std::os::unix::fs::symlink(elsewhere.path(), path).unwrap();
    let socket: &dyn Fn(&Path) = &|path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    let file: &dyn Fn(&Path) = &|path| fs::write(path, "by hand").unwrap();
    for (at, obstruct) in [
        ("ACC/DOC/message.mp3", directory),
        ("ACC/DOC/message.mp3", symlink),
        ("ACC/DOC/message.mp3", socket),
        ("ACC/DOC/.message.mp3.json", directory),
        ("ACC/DOC", symlink),
        ("ACC/DOC", file),
        ("ACC/DOC", socket),
    ] {
        for content in [b"short".to_vec(), long.clone()] {
            let (store, root) = fresh();
            let at = root.path().join(at);
            put(&store, "OTHER/ONE/a.mp3", b"one".to_vec(), None).await;
            put(&store, "ACC/DOC/message.mp3", content.clone(), Some(r#"{"n":1}"#)).await;
            put(&store, "OTHER/TWO/b.mp3", b"two".to_vec(), None).await;
            let journal = journal(root.path());
            power_cut(store, &journal);
            let media = root.path().join("ACC/DOC/message.mp3");
            if content.len() > 1000 {
                fs::rename(&media, root.path().join(".stage").join(staged_name(&journal))).unwrap();
            }
            fs::remove_dir_all(root.path().join("OTHER")).unwrap();
            fs::remove_dir_all(root.path().join("ACC/DOC")).unwrap();
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            obstruct(&at);

            // The second time, the journal is empty, and the entries are still there.
            for _ in 0..2 {
                let store = FsStore::open(root.path()).unwrap();
                assert_eq!(get(&store, "OTHER/ONE/a.mp3").await.0, b"one");
                assert_eq!(get(&store, "OTHER/TWO/b.mp3").await.0, b"two");
                let set_aside = store.set_aside().unwrap();
                assert_eq!(set_aside.len(), 1, "{at:?}: {set_aside:?}");
                assert_eq!(set_aside[0].key, "ACC/DOC/message.mp3");
                assert!(set_aside[0].reason.contains("in the storage root"), "{set_aside:?}");
                assert!(store.unrecovered().is_none());
            }
            assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);

            let mut reported = Vec::new();
            FsScrub::new(root.path())
                .run(|file| {
                    if let Verdict::Damaged(damage) = &file.verdict {
                        reported.push(format!("{}: {damage}", file.key));
                    }
                })
                .unwrap();
            assert_eq!(reported.len(), 1, "{reported:?}");
            assert!(
                reported[0].starts_with("ACC/DOC/message.mp3: it could not be moved to its path"),
                "{reported:?}"
            );

            // The operator restores it as `about.json` describes.
            let directory = fs::read_dir(root.path().join(".set-aside"))
                .unwrap()
                .next()
                .unwrap()
                .unwrap()
                .path();
            let about: serde_json::Value =
                serde_json::from_slice(&fs::read(directory.join("about.json")).unwrap()).unwrap();
            let _ = fs::remove_file(&at).or_else(|_| fs::remove_dir(&at));
            fs::create_dir_all(root.path().join("ACC/DOC")).unwrap();
            for (from, to) in [("media", "media"), ("sidecar.json", "sidecar")] {
                let to = root.path().join(about[to].as_str().unwrap());
                fs::rename(directory.join(from), to).unwrap();
            }
            fs::remove_dir_all(directory).unwrap();
            let store = FsStore::options().verify(true).open(root.path()).unwrap();
            let pair = (content, Some(r#"{"n":1}"#.to_owned()));
            assert_eq!(get(&store, "ACC/DOC/message.mp3").await, pair);
            assert_eq!(store.set_aside().unwrap(), []);
        }
    }
}

/// Records that this version cannot interpret, between two that it can.
#[tokio::test]
async fn sets_aside_a_record_that_cannot_be_interpreted() {
    let time = r#""modified":{"secs_since_epoch":1700000000,"nanos_since_epoch":1000}"#;
    let long = "x".repeat(2000);
    let head =
        |key: &str, sidecar: &str| Some(format!(r#"{{"key":"{key}",{time},"sidecar":{sidecar},"staged":null}}"#));
    let cases = [
        (Some("no JSON".to_owned()), ""),
        (Some("{}".to_owned()), ""),
        (head("ACC/../x.mp3", "null"), "ACC/../x.mp3"),
        (head(&long, "null"), "xxx"),
        (head("ACC/DOC/y.mp3", "99999999"), "ACC/DOC/y.mp3"),
        // A damaged record.
        (None, ""),
    ];
    for (number, (rewritten, named)) in cases.into_iter().enumerate() {
        let (store, root) = fresh();
        put(&store, "ACC/ONE/a.mp3", b"one".to_vec(), None).await;
        put(&store, "ACC/BAD/message.mp3", b"bad content".to_vec(), None).await;
        put(&store, "ACC/TWO/b.mp3", b"two".to_vec(), None).await;
        let mut journal = journal(root.path());
        let segment = journal
            .iter_mut()
            .map(|(_, text)| text)
            .find(|text| !text.is_empty())
            .unwrap();
        let mut records = records(segment);
        // Each is in a separate batch, which begins with a mark.
        assert_eq!(records.len(), 6);
        let broken = rewritten.is_none();
        records[3].0 = rewritten.unwrap_or_else(|| records[3].0.clone());
        *segment = sealed(segment, &records, broken.then_some(3));
        power_cut(store, &journal);
        fs::remove_dir_all(root.path().join("ACC")).unwrap();
        let store = FsStore::open(root.path()).unwrap();
        assert_eq!(get(&store, "ACC/ONE/a.mp3").await.0, b"one", "{number}");
        assert_eq!(get(&store, "ACC/TWO/b.mp3").await.0, b"two", "{number}");
        let set_aside = store.set_aside().unwrap();
        assert_eq!(set_aside.len(), 1, "{number}");
        assert!(set_aside[0].key.starts_with(named), "{number}: {set_aside:?}");
        let directory = root.path().join(&set_aside[0].directory);
        let kept: Vec<u8> = ["media", "record"]
            .iter()
            .filter_map(|name| fs::read(directory.join(name)).ok())
            .flatten()
            .collect();
        let kept = String::from_utf8_lossy(&kept).into_owned();
        assert!(kept.contains("bad content"), "{number}: {kept}");
    }
}

/// Uploads whose paths conflict with each other or with other files, until a crash: acknowledged ones exist afterwards,
/// refused ones do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keeps_exactly_the_acknowledged_ones_of_conflicting_uploads() {
    for round in 0..5 {
        let (store, root) = fresh();
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        // Appears and disappears at the path of a file and of a sidecar.
        let meddler = std::thread::spawn({
            let (stop, dir) = (std::sync::Arc::clone(&stop), root.path().join("ACC"));
            move || {
                fs::create_dir_all(&dir).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in ["m.mp3", ".s.mp3.json"] {
                        let _ = fs::create_dir(dir.join(name));
                        let _ = fs::remove_dir(dir.join(name));
                    }
                }
            }
        });
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..40 {
            for path in ["ACC/x", "ACC/x/y", "ACC/m.mp3", "ACC/s.mp3", "x.1/y", "x.1"] {
                let path = match number % 2 {
                    0 => path.to_owned(),
                    _ => format!("{path}{number}"),
                };
                let (store, content) = (store.clone(), format!("{path} {number} {round}"));
                tasks.spawn(async move {
                    let upload = Upload::new(key(&path), content.clone());
                    (path, content, store.put(upload).await.is_ok())
                });
            }
        }
        let done = tasks.join_all().await;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        meddler.join().unwrap();
        let journal = journal(root.path());
        power_cut(store, &journal);
        for name in ["ACC", "x.1%dir"] {
            fs::remove_dir_all(root.path().join(name)).unwrap();
        }
        let _ = fs::remove_file(root.path().join("x.1"));
        let store = FsStore::open(root.path()).unwrap();
        assert_eq!(store.set_aside().unwrap(), []);
        let paths: std::collections::BTreeSet<&str> = done.iter().map(|(path, ..)| path.as_str()).collect();
        for path in paths {
            let of = |wanted: bool| -> Vec<&[u8]> {
                let outcomes = done.iter().filter(|(other, _, ok)| other == path && *ok == wanted);
                outcomes.map(|(_, content, _)| content.as_bytes()).collect()
            };
            match store.head(&key(path)).await {
                Ok(_) => {
                    let (found, _) = get(&store, path).await;
                    assert!(
                        of(true).contains(&&*found),
                        "{path}: {}",
                        String::from_utf8_lossy(&found)
                    );
                }
                Err(error) => {
                    assert!(error.is_not_found(), "{error}");
                    assert_eq!(of(true), [b""; 0], "{path} was acknowledged");
                }
            }
        }
    }
}

#[tokio::test]
async fn keeps_deleted_files_deleted() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::open(root.path()).unwrap();
    let long = vec![7; 200_000];
    put(&store, "ACC/short/a.mp3", b"short".to_vec(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/long/a.mp3", long.clone(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/again/a.mp3", b"old".to_vec(), Some(r#"{"n":1}"#)).await;
    put(&store, "ACC/parent", b"file".to_vec(), None).await;
    put(&store, "ACC/other/a.mp3", b"other".to_vec(), Some(r#"{"n":2}"#)).await;
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3", "ACC/again/a.mp3", "ACC/parent"] {
        store.delete(&key(path)).await.unwrap();
    }
    assert!(!root.path().join("ACC/short").exists(), "no empty directory is left");
    put(&store, "ACC/again/a.mp3", b"new".to_vec(), None).await;
    put(&store, "ACC/parent/child.mp3", b"child".to_vec(), None).await;
    let journal = journal(root.path());
    power_cut(store, &journal);
    // The deletions were not written to the disk, so the files reappear.
    fs::create_dir_all(root.path().join("ACC/short")).unwrap();
    fs::create_dir_all(root.path().join("ACC/long")).unwrap();
    fs::write(root.path().join("ACC/short/a.mp3"), "short").unwrap();
    fs::write(root.path().join("ACC/long/a.mp3"), &long).unwrap();
    let past = SystemTime::now() - Duration::from_secs(3600);
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3"] {
        fs::File::open(root.path().join(path))
            .unwrap()
            .set_modified(past)
            .unwrap();
    }

    let store = FsStore::open(root.path()).unwrap();
    for path in ["ACC/short/a.mp3", "ACC/long/a.mp3", "ACC/parent"] {
        assert!(store.head(&key(path)).await.unwrap_err().is_not_found(), "{path}");
    }
    assert_eq!(get(&store, "ACC/again/a.mp3").await, (b"new".to_vec(), None));
    assert_eq!(get(&store, "ACC/parent/child.mp3").await, (b"child".to_vec(), None));
    let other = (b"other".to_vec(), Some(r#"{"n":2}"#.to_owned()));
    assert_eq!(get(&store, "ACC/other/a.mp3").await, other);
    assert!(!root.path().join("ACC/short").exists());
}

#[tokio::test]
async fn opens_whatever_part_of_a_deletion_is_on_the_disk() {
    let past = SystemTime::now() - Duration::from_secs(3600);
    let old_file = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "old").unwrap();
        fs::File::open(&path).unwrap().set_modified(past).unwrap();
    };
    // The deleted file, the file stored then, the state of the disk, and whether that stays.
    for (deleted, stored, on_disk, stays) in [
        ("a/b", Some("a"), "a/b%file", false),
        ("a", Some("a/b"), "a%file", false),
        ("a", None, "a%file", false),
        ("a", None, "a/x%file", true),
        ("a/b", None, "a%file", true),
        // Something that another program put there.
        ("a/b", None, "a", true),
        ("a.b", None, "a.b/c", true),
    ] {
        let case = format!("{deleted}, {stored:?}, {on_disk}");
        let (store, root) = fresh();
        put(&store, deleted, b"old".to_vec(), Some(r#"{"n":1}"#)).await;
        store.delete(&key(deleted)).await.unwrap();
        if let Some(stored) = stored {
            put(&store, stored, b"new".to_vec(), None).await;
        }
        let journal = journal(root.path());
        power_cut(store, &journal);
        for name in ["a%file", ".a%file.json"] {
            let _ = fs::remove_file(root.path().join(name));
        }
        let _ = fs::remove_dir_all(root.path().join("a"));
        old_file(root.path().join(on_disk));
        let store = FsStore::open(root.path()).expect(&case);
        let found = store.head(&key(deleted)).await;
        assert!(found.is_err_and(|error| error.is_not_found()), "{case}");
        if let Some(stored) = stored {
            assert_eq!(get(&store, stored).await, (b"new".to_vec(), None), "{case}");
        }
        assert_eq!(root.path().join(on_disk).exists(), stays, "{case}");
    }
}

#[tokio::test]
async fn deletes_the_sidecar_of_media_that_was_removed() {
    let (store, root) = fresh();
    put(&store, "a.mp3", b"content".to_vec(), Some(r#"{"n":1}"#)).await;
    fs::remove_file(root.path().join("a.mp3")).unwrap();
    store.delete(&key("a.mp3")).await.unwrap();
    assert!(!root.path().join(".a.mp3.json").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_finds_a_file_with_its_metadata_or_none_during_a_deletion() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for _ in 0..600 {
                put(&store, "ACC/a.mp3", b"content".to_vec(), Some(r#"{"n":1}"#)).await;
                store.delete(&key("ACC/a.mp3")).await.unwrap();
            }
        }
    });
    let mut found = 0;
    while !writer.is_finished() {
        match store.metadata(&key("ACC/a.mp3")).await {
            Ok(metadata) => {
                assert!(metadata.is_some(), "the file has always had metadata");
                found += 1;
            }
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
    }
    writer.await.unwrap();
    assert!(found > 10, "{found}");
}

/// The directory is removed with its last file while uploads create files in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tolerates_uploads_and_deletions_in_one_directory() {
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let path = format!("ACC/DOC/{number}.mp3");
                for round in 0..200 {
                    let content = format!("{number} {round}").into_bytes();
                    put(&store, &path, content.clone(), None).await;
                    assert_eq!(get(&store, &path).await, (content, None));
                    store.delete(&key(&path)).await.unwrap();
                    assert!(store.head(&key(&path)).await.unwrap_err().is_not_found());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
