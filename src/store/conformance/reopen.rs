//! Files are there when a store is dropped and opened again. A store that writes only when it is dropped passes, too.

use std::sync::Arc;

use super::{
    catalog::entries,
    held::Held,
    support::{Sample, Script, Step, assert_absent, body_error, head, key, message, metadata, put},
};
use crate::{
    key::BlobKey,
    store::{BlobCatalog, BlobEntry, BlobStore, Upload},
};

/// The lengths of the contents: none, few, and more than a store buffers.
const LENS: [usize; 4] = [0, 10, 70_000, 600_000];

/// A file has its content, type, metadata and description after the store is opened again.
pub async fn keeps_files_when_it_is_opened_again<S: BlobStore>(open: impl AsyncFn() -> S) {
    let contract = "a stored file is there when the store is opened again";
    let store = open().await;
    let mut stored = Vec::new();
    for (number, len) in (0..).zip(LENS) {
        let (key, sample) = (key(&format!("ACCOUNT/{number}/message.mp3")), Sample::new(number, len));
        sample.put(&store, &key).await;
        stored.push((key, sample));
    }
    let plain = key("ACCOUNT/plain");
    put(&store, Upload::new(plain.clone(), "plain")).await;
    let mut described = Vec::new();
    for (key, _) in &stored {
        described.push(head(&store, key).await);
    }
    drop(store);
    for _ in 0..2 {
        let store = open().await;
        for ((key, sample), info) in stored.iter().zip(&described) {
            sample.assert_under(&store, key, contract).await;
            assert_eq!(&head(&store, key).await, info, "{contract}: its description differs");
        }
        assert_eq!(metadata(&store, &plain).await, None, "{contract}: it has new metadata");
    }
}

/// A file that was replaced is the new one after the store is opened again.
pub async fn keeps_replacements_when_it_is_opened_again<S: BlobStore>(open: impl AsyncFn() -> S) {
    let contract = "a replaced file is the new one when the store is opened again";
    for (number, len) in (0..).zip(LENS) {
        let new = Sample::new(100 + number, len);
        for sample in [&Sample::new(number, 200_000), &new] {
            sample.put(&open().await, &message()).await;
        }
        new.assert_under(&open().await, &message(), contract).await;
    }
}

/// An upload that failed or was dropped has left nothing, and a file that it should have replaced is unchanged, after
/// the store is opened again.
pub async fn keeps_nothing_of_a_failed_upload_when_it_is_opened_again<S: BlobStore>(open: impl AsyncFn() -> S) {
    let contract = "a failed upload has changed nothing when the store is opened again";
    let (old, absent) = (Sample::new(1, 200_000), key("ACCOUNT/202401-DOCUMENT/absent.mp3"));
    old.put(&open().await, &message()).await;
    for (number, len) in (2..).zip(LENS) {
        let sample = Sample::new(number, len);
        for key in [&message(), &absent] {
            let store = Arc::new(open().await);
            let mut steps = Script::chunks(&sample.content, 10_007);
            steps.push(Step::Fail(body_error()));
            let failed = store.put(sample.upload_of(key, Script::body(steps))).await;
            assert!(failed.is_err(), "an upload whose body ends with an error is not stored");
            let held = Held::start(&store, &sample.content, |body| sample.upload_of(key, body)).await;
            held.abort().await;
        }
        let store = open().await;
        old.assert_under(&store, &message(), contract).await;
        assert_absent(&store, &absent, contract).await;
    }
}

/// A listing has the same entries after the store is opened again.
pub async fn lists_the_same_files_when_it_is_opened_again<C: BlobCatalog>(open: impl AsyncFn() -> C) {
    let contract = "a file is listed when the store is opened again";
    let store = open().await;
    for (number, len) in (0..).zip(LENS) {
        let key = key(&format!("ACCOUNT/{number}/message.mp3"));
        Sample::new(number, len).put(&store, &key).await;
    }
    let listed = sorted(&store).await;
    assert_eq!(listed.len(), LENS.len(), "every file is listed, once");
    drop(store);
    for _ in 0..2 {
        assert_eq!(sorted(&open().await).await, listed, "{contract}");
    }
}

/// A deleted file does not exist after the store is opened again, whether it was stored before or after the last
/// opening. A file that was stored after the deletion has nothing of the old one.
pub async fn keeps_deletions_when_it_is_opened_again<C: BlobCatalog>(open: impl AsyncFn() -> C) {
    let contract = "a deleted file does not exist when the store is opened again";
    let (new, kept) = (
        key("ACCOUNT/202401-DOCUMENT/new.mp3"),
        key("ACCOUNT/202401-DOCUMENT/kept.mp3"),
    );
    for (number, len) in (0..).zip(LENS) {
        let store = open().await;
        let sample = Sample::new(number, len);
        for key in [&message(), &new, &kept] {
            sample.put(&store, key).await;
        }
        delete(&store, &new).await;
        drop(store);
        let store = open().await;
        assert_absent(&store, &new, contract).await;
        put(&store, Upload::new(new.clone(), "new")).await;
        delete(&store, &message()).await;
        drop(store);
        let store = open().await;
        assert_absent(&store, &message(), contract).await;
        sample
            .assert_under(&store, &kept, "deleting a file leaves the others alone")
            .await;
        let keys: Vec<_> = sorted(&store).await.into_iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [kept.clone(), new.clone()], "{contract}");
        assert_eq!(
            metadata(&store, &new).await,
            None,
            "{contract}: the old metadata remains"
        );
    }
}

async fn delete(store: &impl BlobCatalog, key: &BlobKey) {
    store.delete(key).await.expect("a file can be deleted");
}

/// Returns all entries, ordered by their keys.
async fn sorted(store: &impl BlobCatalog) -> Vec<BlobEntry> {
    let mut entries = entries(store, None).await;
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    entries
}
