//! Names of files and directories, and the sidecar.

use std::fs;

use http_body_util::BodyExt as _;
use kazoo_storage::{BlobCatalog, BlobKey, BlobStore, ErrorKind, Upload, digest::Digest};
use serde_json::{Value, json};

use super::{blob, fresh, metadata, staged, tree, upload};

#[tokio::test]
async fn stores_media_as_a_plain_file_beside_its_sidecar() {
    let (store, root) = fresh();
    let typed = upload("ACC/DOC/message.mp3", "ID3").with_content_type(http::HeaderValue::from_static("audio/mpeg"));
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
            .put(upload.with_content_type(http::HeaderValue::from_static("audio/x-other")))
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
