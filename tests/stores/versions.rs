//! A store opens the directories that earlier versions wrote.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt as _;
use http::HeaderValue;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobCatalog as _, BlobKey, BlobStore as _, Metadata, Upload,
    store::{FsScrub, FsStore, Verdict},
};
use kazoo_storage_test_support::versions::{self, StoredFile, Version};
use serde_json::json;
use sha2::{Digest as _, Sha256};

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-9f86d081884c7d659a2feaa0c55ad015";

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn opened(version: &Version) -> (FsStore, tempfile::TempDir) {
    let root = tempfile::tempdir().unwrap();
    version.copy_store(root.path());
    (FsStore::options().verify(true).open(root.path()).unwrap(), root)
}

async fn assert_serves(store: &FsStore, file: &StoredFile) {
    let at = &file.key;
    let blob = store.get(&key(at), None).await.unwrap().into_blob().unwrap();
    assert_eq!(
        blob.info.content_type.as_ref().unwrap().as_bytes(),
        file.content_type.as_bytes(),
        "{at}"
    );
    let content = blob.body.collect().await.unwrap().to_bytes();
    assert_eq!(sha256(&content), file.sha256, "{at}");
    let metadata = store.metadata(&key(at)).await.unwrap();
    assert_eq!(
        metadata.as_ref().map(|metadata| &metadata.as_json()[..]),
        file.metadata.as_ref().map(String::as_bytes),
        "{at}"
    );
}

#[tokio::test]
async fn serves_every_file_of_an_earlier_version() {
    let versions = versions::all();
    assert!(!versions.is_empty());
    for version in &versions {
        let (store, root) = opened(version);
        assert!(store.unrecovered().is_none() && store.set_aside().unwrap().is_empty());
        for file in &version.files {
            assert_serves(&store, file).await;
        }
        for deleted in &version.deleted {
            store.head(&key(deleted)).await.expect_err(deleted);
        }
        let listed: Vec<_> = store.list(None).try_collect().await.unwrap();
        let mut listed: Vec<_> = listed.iter().map(|entry| entry.key.to_string()).collect();
        let mut expected: Vec<_> = version.files.iter().map(|file| file.key.clone()).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
        drop(store);
        let mut unknown = Vec::new();
        let scrubbed = FsScrub::new(root.path()).run(|file| match &file.verdict {
            Verdict::Damaged(damage) => panic!("{}: {damage}", file.key),
            Verdict::Intact => {}
            _ => unknown.push(file.key.clone()),
        });
        scrubbed.unwrap();
        assert_eq!(unknown, [format!("{ACCOUNT}/by-hand.wav")]);
    }
}

/// Writes the fixtures of this version: `cargo test --test stores versions -- --ignored`.
#[tokio::test]
#[ignore = "replaces the fixtures of this version, for a release"]
async fn write_the_fixtures_of_this_version() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| format!("{ACCOUNT}/{name}");
    let voicemail = at("5f4dcc3b5aa765d61d8327deb882cf99.mp3");
    let document = " {\"id\":\"202401-9f86\", \"caller_id_name\":\"Zoë\", \"call_id\":\"b3f6\"}\n";
    let mut files = BTreeMap::new();
    let mut put = async |store: &FsStore, path: &str, content: Vec<u8>, media_type: &str, json: Option<&str>| {
        let mut upload = Upload::new(key(path), bytes::Bytes::from(content.clone()))
            .with_content_type(HeaderValue::from_bytes(media_type.as_bytes()).unwrap());
        upload.metadata = json.map(|json| Metadata::from_json(json.to_owned()).unwrap());
        store.put(upload).await.unwrap();
        let file = json!({"key": key(path).to_string(), "sha256": sha256(&content), "content_type": media_type, "metadata": json});
        files.insert(key(path).to_string(), file);
    };

    let store = FsStore::open(root.path()).unwrap();
    for (path, media_type, json) in [
        (&*voicemail, "audio/mpeg", Some(document)),
        (
            &at("call_recording_b3f6.mp3"),
            "audio/mpeg",
            Some(r#"{"source_type":"call_recording"}"#),
        ),
        (
            &at("fax_file.tiff"),
            "image/tiff",
            Some(r#"{"from_number":"+4930123456"}"#),
        ),
        (&at("greeting.wav"), "audio/x-wav; name=Grüße", None),
        (&at("7f3c_test_credentials_file.txt"), "text/plain", None),
        (&at("to-delete.mp3"), "audio/mpeg", Some("{}")),
        ("without/a/dot", "application/octet-stream", None),
        ("v1.2/.hidden/100%25 sure%2Fno.mp3", "audio/mpeg", Some("{}")),
        ("lost+found/größe.mp3", "audio/mpeg", None),
        (&*"long".repeat(100), "application/octet-stream", None),
    ] {
        put(&store, path, format!("content of {path}").into(), media_type, json).await;
    }
    let recording = at("call_recording_b3f6.mp3");
    put(
        &store,
        &recording,
        b"replaced".to_vec(),
        "audio/mpeg",
        Some(r#"{"source_type":"call_recording","n":2}"#),
    )
    .await;
    drop(store);
    fs::write(root.path().join(at("by-hand.wav")), "by hand").unwrap();

    let fixtures = versions::directory().join("0.1");
    let _ = fs::remove_dir_all(fixtures.join("store"));
    versions::copy(root.path(), &fixtures.join("store"));
    fs::remove_file(fixtures.join("store/.stage/lock")).unwrap();
    let mut times = BTreeMap::new();
    note_times(root.path(), root.path(), &mut times);

    // These changes are in the journal alone, as after a loss of power.
    let store = FsStore::open(root.path()).unwrap();
    put(
        &store,
        &at("pending.mp3"),
        b"pending".to_vec(),
        "audio/mpeg",
        Some(document),
    )
    .await;
    put(&store, &at("greeting.wav"), b"replaced".to_vec(), "audio/x-wav", None).await;
    put(&store, &at("long.mp3"), vec![b'.'; 70_000], "audio/mpeg", Some("{}")).await;
    store.delete(&key(&at("to-delete.mp3"))).await.unwrap();
    for segment in ["journal.0", "journal.1"] {
        let bytes = fs::read(root.path().join(".stage").join(segment)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        if let Some((_, name)) = text.split_once(r#""staged":""#) {
            let name = format!(".stage/{}", name.split_once('"').unwrap().0);
            let media = root.path().join(at("long.mp3"));
            fs::copy(&media, fixtures.join("store").join(&name)).unwrap();
            times.insert(name, versions::time(fs::metadata(media).unwrap().modified().unwrap()));
        }
        fs::write(fixtures.join("store/.stage").join(segment), bytes).unwrap();
    }
    files.remove(&at("to-delete.mp3"));
    let by_hand = at("by-hand.wav");
    let file = json!({"key": by_hand, "sha256": sha256(b"by hand"), "content_type": "audio/x-wav", "metadata": null});
    files.insert(by_hand, file);
    let files: Vec<_> = files.into_values().collect();
    let json = json!({"files": files, "deleted": [at("to-delete.mp3")], "times": times});
    fs::write(
        fixtures.join("store.json"),
        serde_json::to_string_pretty(&json).unwrap() + "\n",
    )
    .unwrap();
}

fn note_times(root: &Path, directory: &Path, times: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != ".stage" {
            note_times(root, &path, times);
        } else if path.is_file() && !name.starts_with('.') {
            let modified = fs::metadata(&path).unwrap().modified().unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            times.insert(path, versions::time(modified));
        }
    }
}

fn sha256(content: &[u8]) -> String {
    versions::hex(&Sha256::digest(content))
}
