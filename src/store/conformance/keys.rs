//! Names of files, and the distinctness of keys.

use super::support::{Sample, key};
use crate::{
    error::ErrorKind,
    key::BlobKey,
    store::{BlobStore, PutResult},
};

/// Any name is stored and returned unchanged, or refused as `InvalidKey` with nothing stored.
pub async fn stores_or_refuses_every_name(store: impl BlobStore) {
    let names = [
        "a/b".to_owned(),
        "../../etc/passwd".to_owned(),
        "a\\b".to_owned(),
        "50%".to_owned(),
        "%2F".to_owned(),
        "..mp3".to_owned(),
        "...".to_owned(),
        ".hidden.mp3".to_owned(),
        "trailing.".to_owned(),
        " spaces ".to_owned(),
        "grüße €.mp3".to_owned(),
        "CON".to_owned(),
        "?*:|<>\"'&;=+,#[]{}^`~!$()@".to_owned(),
        "n".repeat(255),
        "n".repeat(BlobKey::MAX_SEGMENT_LEN),
        "é".repeat(BlobKey::MAX_SEGMENT_LEN / 2),
        "%".repeat(BlobKey::MAX_SEGMENT_LEN),
    ];
    for (number, name) in (0..).zip(&names) {
        for segments in [vec![name.as_str()], vec!["ACCOUNT", name, "message.mp3"]] {
            let key = BlobKey::from_segments(&segments).expect("a valid key");
            stored_or_refused(&store, &key, number).await;
        }
    }
    let deep = vec!["segment"; BlobKey::MAX_SEGMENTS];
    let key = BlobKey::from_segments(deep).expect("a valid key");
    stored_or_refused(&store, &key, 1000).await;
}

async fn stored_or_refused(store: &impl BlobStore, key: &BlobKey, number: u64) {
    let sample = Sample::new(number, 50);
    match store.put(sample.upload(key)).await {
        Ok(_) => {
            sample
                .assert_under(store, key, "a file with any name is returned")
                .await;
        }
        Err(error) => {
            assert_eq!(
                error.kind(),
                ErrorKind::InvalidKey,
                "a key that a store cannot hold is `InvalidKey`, `{key}`: {error:?}"
            );
            let error = store
                .get(key, None)
                .await
                .map(drop)
                .expect_err("a refused upload stores nothing");
            assert!(
                matches!(error.kind(), ErrorKind::InvalidKey | ErrorKind::NotFound),
                "a key that was refused is refused or missing when fetched, `{key}`: {error:?}"
            );
        }
    }
}

/// Keys that are not equal are different files, even if their names are similar.
pub async fn stores_different_keys_as_different_files(store: impl BlobStore) {
    let long = "n".repeat(300);
    let keys = [
        vec!["x", "a", "b"],
        vec!["x", "a/b"],
        vec!["x", "a%2Fb"],
        vec!["x", "a\\b"],
        vec!["x", "A/B"],
        vec!["x/a", "b"],
        vec!["y", "Message.mp3"],
        vec!["y", "message.mp3"],
        vec!["y", "message.mp3 "],
        vec!["y", ".message.mp3"],
        vec!["y", ".message.mp3.json"],
        vec!["y", "message.mp3.json"],
        vec!["y", "%2Emessage.mp3"],
        vec!["y", "grüße"],
        vec!["y", "gru\u{308}ße"],
        vec!["z", &long],
        vec!["z", &long[1..]],
        vec!["z", &long[..240], &long[..60]],
    ];
    let mut stored = Vec::new();
    for (number, segments) in (0..).zip(&keys) {
        let key = BlobKey::from_segments(segments).expect("a valid key");
        let sample = Sample::new(number, 64);
        match store.put(sample.upload(&key)).await {
            Ok(outcome) => {
                assert_eq!(
                    outcome,
                    PutResult::Created,
                    "different keys are different files, but `{key}` replaced another"
                );
                stored.push((key, sample));
            }
            Err(error) => assert_eq!(
                error.kind(),
                ErrorKind::InvalidKey,
                "a key that a store cannot hold is `InvalidKey`, `{key}`: {error:?}"
            ),
        }
    }
    for (key, sample) in &stored {
        sample
            .assert_under(&store, key, "different keys are different files")
            .await;
    }
}

/// A key that begins with all segments of another key is a separate file, stored beside it in either order.
pub async fn stores_a_key_beneath_another_one(store: impl BlobStore) {
    let contract = "a file and files beneath it are different files";
    let mut stored = Vec::new();
    for (number, path) in (0..).zip([
        "p/a",
        "p/a/b",
        "p/a/b/c.mp3",
        "q/a.mp3",
        "q/a.mp3/b.mp3",
        "r/a/b",
        "r/a",
        "s/a.b/c/d",
        "s/a.b",
        "s",
        "a%25file",
        "a",
        "v1.2%25dir",
        "v1.2/c",
        "v1.2",
    ]) {
        let (key, sample) = (key(path), Sample::new(number, 80));
        let outcome = store.put(sample.upload(&key)).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{contract}, `{key}`: {error:?}"));
        assert_eq!(outcome, PutResult::Created, "{contract}: `{key}` replaced another");
        stored.push((key, sample));
    }
    for (key, sample) in &stored {
        sample.assert_under(&store, key, contract).await;
    }
}
