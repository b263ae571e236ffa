//! Listing and deletion.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_core::Stream as _;
use http_body_util::BodyExt as _;

use super::{
    held::Held,
    support::{Sample, assert_absent, get, head, key, message, noise, put},
};
use crate::{
    key::BlobKey,
    metadata::Metadata,
    store::{BlobCatalog, BlobEntry, PutResult, Upload},
};

pub(super) async fn entries(store: &impl BlobCatalog, prefix: Option<&str>) -> Vec<BlobEntry> {
    let prefix = prefix.map(key);
    let mut listed = pin!(store.list(prefix.as_ref()));
    let mut entries = Vec::new();
    while let Some(entry) = poll_fn(|cx| listed.as_mut().poll_next(cx)).await {
        entries.push(entry.expect("a store that works can be listed"));
    }
    entries
}

async fn lengths(store: &impl BlobCatalog) -> Vec<u64> {
    entries(store, None).await.iter().map(|entry| entry.len).collect()
}

async fn keys(store: &impl BlobCatalog, prefix: Option<&str>) -> Vec<String> {
    let mut keys: Vec<String> = entries(store, prefix)
        .await
        .iter()
        .map(|entry| entry.key.to_string())
        .collect();
    keys.sort();
    keys
}

/// Every file is listed once, beneath each prefix of its key and beneath no other key, whatever its name.
pub async fn lists_every_file_beneath_its_prefixes(store: impl BlobCatalog) {
    assert_eq!(keys(&store, None).await, [""; 0], "an empty store lists nothing");
    let paths = [
        "ACC/DOC/message.mp3",
        "ACC/DOC/message.wav",
        "ACC/DOC2/message.mp3",
        "ACC/OWNER/DOC/voice%20mail%2F50%25.mp3",
        "ACC/%C3%BC/.hidden",
        "ACC2/DOC/message.mp3",
        "single",
    ];
    let mut stored = BTreeSet::new();
    for path in paths {
        put(&store, Upload::new(key(path), "content")).await;
        stored.insert(key(path).to_string());
    }
    // A second upload, and metadata, add no entry.
    Sample::new(1, 10).put(&store, &key(paths[0])).await;
    let all: Vec<String> = stored.iter().cloned().collect();
    assert_eq!(keys(&store, None).await, all, "every file is listed, once");
    for prefix in ["ACC", "ACC/DOC", "ACC/OWNER", "AC", "ACC/DOC/message.mp3", "other"] {
        let above: Vec<&str> = prefix.split('/').collect();
        let beneath: Vec<String> = all
            .iter()
            .filter(|path| {
                let segments: Vec<&str> = path.split('/').collect();
                segments.len() > above.len() && segments.starts_with(&above)
            })
            .cloned()
            .collect();
        assert_eq!(
            keys(&store, Some(prefix)).await,
            beneath,
            "a prefix is whole segments: {prefix}"
        );
    }
}

/// An entry has the length of its file. Metadata of typical length is not included.
pub async fn lists_the_length_of_a_file(store: impl BlobCatalog) {
    let long = format!(r#"{{"transcription":"{}"}}"#, "x".repeat(3_000));
    let long = Metadata::from_json(long).expect("an object");
    for len in [0, 13, 300_000] {
        let sample = Sample::new(1, len);
        sample.put(&store, &message()).await;
        assert_eq!(
            lengths(&store).await,
            [len as u64],
            "an entry has the length of its file"
        );
        put(&store, sample.upload(&message()).with_metadata(long.clone())).await;
        let exact = head(&store, &message()).await.len;
        assert_eq!(exact, len as u64, "`head` returns the length of the content");
        let listed = lengths(&store).await;
        assert!(
            listed == [exact] || listed == [exact + long.as_json().len() as u64],
            "an entry has the length of its file, or that of its file and metadata: {listed:?}"
        );
    }
}

/// An entry has the modification time that `head` returns, to the second.
pub async fn lists_the_modification_time_of_a_file(store: impl BlobCatalog) {
    for content in ["first", "second"] {
        put(&store, Upload::new(message(), content)).await;
        let modified = head(&store, &message()).await.modified;
        for entry in entries(&store, None).await {
            let (Some(listed), Some(modified)) = (entry.modified, modified) else {
                assert_eq!(
                    entry.modified, modified,
                    "`list` and `head` both return a modification time"
                );
                return;
            };
            let contract = "an entry has the modification time of its file";
            assert!(distance(listed, modified) < Duration::from_secs(1), "{contract}");
            assert!(
                distance(listed, SystemTime::now()) < Duration::from_secs(60),
                "{contract}"
            );
        }
    }
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|earlier| earlier.duration())
}

/// An upload is not listed until its body has ended.
pub async fn does_not_list_an_upload_until_its_body_ends(store: impl BlobCatalog) {
    let contract = "an upload that has not ended is not listed";
    let store = Arc::new(store);
    let held = Held::start(&store, &noise(1, 300_000), |body| Upload::new(message(), body)).await;
    assert_eq!(keys(&store, None).await, [""; 0], "{contract}");
    held.store().await;
    assert_eq!(keys(&store, None).await, [message().to_string()], "{contract}");
}

/// A check adds no entry.
pub async fn does_not_list_files_of_a_check(store: impl BlobCatalog) {
    store.check().await.expect("a working store passes its check");
    assert_eq!(keys(&store, None).await, [""; 0], "a check leaves nothing behind");
}

/// Deletion removes the file and its metadata, and nothing else. It succeeds if the file does not exist.
pub async fn deletes_a_file_with_its_metadata(store: impl BlobCatalog) {
    let neighbour: BlobKey = key("ACCOUNT/202401-DOCUMENT/other.mp3");
    let (first, second) = (Sample::new(1, 200_000), Sample::new(2, 10));
    first.put(&store, &message()).await;
    second.put(&store, &neighbour).await;
    for _ in 0..2 {
        store
            .delete(&message())
            .await
            .expect("a file can be deleted, and again");
        assert_absent(&store, &message(), "a deleted file does not exist").await;
        second
            .assert_under(&store, &neighbour, "deleting a file leaves the others alone")
            .await;
        assert_eq!(keys(&store, None).await, [neighbour.to_string()]);
    }
    let contract = "an upload after a deletion creates a new file";
    let stored = put(&store, Upload::new(message(), "new")).await;
    assert_eq!(stored, PutResult::Created, "{contract}");
    let found = store.metadata(&message()).await.expect("the file is there");
    assert_eq!(found, None, "{contract}: the old metadata remains");
}

/// A file and the files beneath it are listed separately, and deleting one leaves the others.
pub async fn lists_and_deletes_a_file_and_files_beneath_it_separately(store: impl BlobCatalog) {
    let paths = ["ACC/a", "ACC/a/b", "ACC/v1.2", "ACC/v1.2/c.mp3"];
    for (first, second) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        let pair = [paths[first], paths[second]];
        let samples = [Sample::new(1, 70), Sample::new(2, 80)];
        for (path, sample) in pair.iter().zip(&samples) {
            sample.put(&store, &key(path)).await;
        }
        let mut both = pair.map(str::to_owned);
        both.sort();
        assert_eq!(
            keys(&store, None).await,
            both,
            "a file and one beneath it are both listed"
        );
        assert_eq!(keys(&store, Some("ACC")).await, both);
        let above = both[0].as_str();
        assert_eq!(
            keys(&store, Some(above)).await,
            both[1..],
            "a file is not beneath itself"
        );
        store.delete(&key(pair[0])).await.expect("a file can be deleted");
        assert_absent(&store, &key(pair[0]), "a deleted file does not exist").await;
        samples[1]
            .assert_under(
                &store,
                &key(pair[1]),
                "deleting a file leaves one above or beneath it alone",
            )
            .await;
        assert_eq!(keys(&store, None).await, [pair[1]]);
        store.delete(&key(pair[1])).await.expect("a file can be deleted");
        assert_eq!(keys(&store, None).await, [""; 0]);
    }
}

/// A reader that began before a deletion reads the file to its end, or its body ends with an error.
pub async fn lets_a_reader_finish_a_deleted_file_or_fail(store: impl BlobCatalog) {
    for len in [1_000, 3 << 20] {
        let content: Bytes = noise(1, len);
        put(&store, Upload::new(message(), content.clone())).await;
        let body = get(&store, &message()).await.body;
        store.delete(&message()).await.expect("a file can be deleted");
        if let Ok(read) = body.collect().await {
            assert!(read.to_bytes() == content, "a body that ends cleanly is the whole file");
        }
    }
}
