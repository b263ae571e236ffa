//! Recovery of a durable `FsStore` after crashes.
//!
//! A power cut is played: the journal is as it was at that moment, and everything else that was not synced is gone.

mod deletions;
mod set_aside;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use kazoo_storage::{BlobKey, BlobStore as _, FsStore, GetResult, Metadata, Upload};
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
    let GetResult::Blob(blob) = store.get(&key(path), None).await.unwrap() else {
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
    // Half of the sidecar of a new key.
    fs::write(at("ACC/TWO/.lost.mp3.json"), "{\n  \"version\": \"17").unwrap();
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
    // Here only the content of the sidecar is lost.
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
