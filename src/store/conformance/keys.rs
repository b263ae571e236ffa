//! Which keys can be stored, and that no two are one.

use bytes::Bytes;

use super::support::{Sample, get, key, read};
use crate::{
    error::ErrorKind,
    key::BlobKey,
    store::{BlobStore, Stored},
};

/// Any name is data: it is stored and read back as it is, or refused as `InvalidKey` with nothing stored.
pub async fn every_name_is_stored_as_it_is_or_refused(store: impl BlobStore) {
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
        Ok(_) => sample.assert_under(store, key, "a name is data and comes back").await,
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

/// Keys that are not equal are different files, however alike their names are.
pub async fn different_keys_are_different_files(store: impl BlobStore) {
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
                    Stored::Created,
                    "different keys are different files, but `{key}` replaced another"
                );
                stored.push((key, sample));
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::InvalidKey | ErrorKind::Conflict),
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

/// A key that begins with all of another's segments is stored beside it, or it is a `Conflict` that leaves the other
/// as it was.
pub async fn a_key_beneath_another_is_stored_or_a_conflict(store: impl BlobStore) {
    let contract = "what a later key conflicts with stays as it was";
    for (number, (first, second)) in (0..).zip([
        ("p/a", "p/a/b"),
        ("q/a", "q/a/b/c/d"),
        ("r/a/b", "r/a"),
        ("s/a/b/c/d", "s/a"),
    ]) {
        let (first, second) = (key(first), key(second));
        let (earlier, later) = (Sample::new(2 * number, 80), Sample::new(2 * number + 1, 90));
        earlier.put(&store, &first).await;
        match store.put(later.upload(&second)).await {
            Ok(stored) => {
                assert_eq!(stored, Stored::Created, "`{second}` is another key than `{first}`");
                later
                    .assert_under(&store, &second, "a file is stored beside one above it")
                    .await;
            }
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::Conflict,
                    "a key that cannot be held beside another is a `Conflict`: {error:?}"
                );
                let error = store.get(&second, None).await.map(drop);
                let kind = error.expect_err("a refused upload stores nothing").kind();
                assert_eq!(kind, ErrorKind::NotFound, "a refused upload stores nothing");
            }
        }
        earlier.assert_under(&store, &first, contract).await;
    }
    let content: Bytes = read(get(&store, &key("p/a")).await).await;
    assert_eq!(content.len(), 80, "{contract}");
}
