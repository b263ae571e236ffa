//! Reading media: of other programs, in ranges, truncated or damaged.

use std::{fs, path::Path};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kazoo_storage::{BlobStore, ByteRange, ErrorKind, PutResult, Upload, store::FsStore};

use super::{blob, fresh, key, metadata, read, upload};

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
    assert_eq!(stored, PutResult::Replaced);
    assert_eq!(read(&store, "ACC/by%20hand.wav").await, "new");
}

#[tokio::test]
async fn fails_a_body_if_the_file_is_cut_short() {
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
            let upload = upload.with_content_type(http::HeaderValue::from_static("audio/mpeg"));
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
