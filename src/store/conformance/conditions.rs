//! A conditional upload is stored only if the condition holds at the commit.

use std::sync::Arc;

use http::HeaderValue;

use super::{
    held::Held,
    support::{Sample, assert_absent, get, head, message, noise, put},
};
use crate::{
    error::ErrorKind,
    metadata::Metadata,
    store::{BlobStore, Precondition, PutResult, Upload},
};

/// The lengths of the contents: small, and more than a store buffers before it writes.
const LENS: [usize; 2] = [300, 300_000];

/// The number of overlapping uploads.
const UPLOADS: u64 = 8;

/// Returns `true` if the store refuses all conditional uploads of this length, as a store must if it cannot check
/// conditions atomically.
async fn refuses_conditions(store: &impl BlobStore, len: usize) -> bool {
    let failing = match store.head(&message()).await {
        Ok(_) => Precondition::if_absent(),
        Err(_) => Precondition::if_match(&HeaderValue::from_static("\"none\"")),
    };
    let upload = Sample::new(99, len).upload(&message());
    let error = store.put(upload.with_precondition(failing)).await.err();
    let error = error.expect("an upload whose condition fails is refused");
    match error.kind() {
        ErrorKind::PreconditionFailed => false,
        ErrorKind::InvalidRequest => true,
        _ => panic!("an upload whose condition fails is `PreconditionFailed`: {error:?}"),
    }
}

/// Runs overlapping uploads of `samples`, and asserts that exactly one is stored and is the content afterwards.
async fn one_wins<S: BlobStore>(store: &Arc<S>, samples: &[Sample], precondition: &Precondition, stored: PutResult) {
    let contract = "of several uploads that must not replace each other, exactly one is stored";
    let mut held = Vec::new();
    for sample in samples {
        let upload = |body| {
            sample
                .upload_of(&message(), body)
                .with_precondition(precondition.clone())
        };
        held.push(Held::start(store, &sample.content, upload).await);
    }
    let tasks: Vec<_> = held.into_iter().map(Held::release).collect();
    let mut winners = Vec::new();
    for (task, sample) in tasks.into_iter().zip(samples) {
        match task.await.expect("`put` does not panic") {
            Ok(done) => winners.push((sample, done)),
            Err(error) => assert_eq!(
                error.kind(),
                ErrorKind::PreconditionFailed,
                "an upload whose condition fails is `PreconditionFailed`: {error:?}"
            ),
        }
    }
    let [(winner, done)] = &*winners else {
        panic!(
            "{contract}: there are {}",
            if winners.is_empty() { "none" } else { "two" }
        )
    };
    assert_eq!(*done, stored, "`put` returns whether it replaced a file");
    winner.assert_under(store, &message(), contract).await;
}

/// Of several concurrent uploads that require the key to be absent, exactly one is stored.
pub async fn stores_one_of_several_concurrent_creations(store: impl BlobStore) {
    let store = Arc::new(store);
    let samples: Vec<_> = (0..UPLOADS).map(|number| Sample::new(number, LENS[0])).collect();
    if refuses_conditions(&store, LENS[0]).await {
        return;
    }
    assert_absent(&store, &message(), "an upload whose condition fails stores nothing").await;
    one_wins(&store, &samples, &Precondition::if_absent(), PutResult::Created).await;
}

/// Of several concurrent uploads that replace the same content, identified by its entity tag, exactly one is stored.
pub async fn stores_one_of_several_concurrent_updates(store: impl BlobStore) {
    let store = Arc::new(store);
    for (round, len) in (1..).zip(LENS) {
        Sample::new(100 * round, len).put(&store, &message()).await;
        let Some(etag) = head(&store, &message()).await.etag else {
            return;
        };
        if etag.as_bytes().starts_with(b"W/") || refuses_conditions(&store, len).await {
            continue;
        }
        let samples: Vec<_> = (1..=UPLOADS)
            .map(|number| Sample::new(100 * round + number, len))
            .collect();
        one_wins(&store, &samples, &Precondition::if_match(&etag), PutResult::Replaced).await;
    }
}

/// An upload is not stored if its condition holds before the body is read but no longer at its end.
pub async fn checks_a_condition_at_the_commit(store: impl BlobStore) {
    let contract = "a condition is checked when the upload is committed";
    let store = Arc::new(store);
    for (round, len) in (1..).zip(LENS) {
        for present in [false, true] {
            if refuses_conditions(&store, len).await {
                continue;
            }
            let precondition = match store.head(&message()).await {
                Ok(info) if present => info.etag.map(|etag| Precondition::if_match(&etag)),
                Err(_) if !present => Some(Precondition::if_absent()),
                _ => None,
            };
            let Some(precondition) = precondition else { continue };
            let (late, early) = (
                Sample::new(10 * round, len),
                Sample::new(10 * round + 1 + u64::from(present), len),
            );
            let upload = |body| late.upload_of(&message(), body).with_precondition(precondition);
            let held = Held::start(&store, &late.content, upload).await;
            early.put(&store, &message()).await;
            let stored = held.release().await.expect("`put` does not panic");
            assert_eq!(
                stored.map_err(|error| error.kind()),
                Err(ErrorKind::PreconditionFailed),
                "{contract}: another upload was stored meanwhile"
            );
            early.assert_under(&store, &message(), contract).await;
        }
    }
}

/// An upload is refused and changes nothing if its condition fails, and is stored if it holds.
pub async fn changes_nothing_if_a_condition_fails(store: impl BlobStore) {
    let contract = "an upload whose condition fails changes nothing";
    let headers = |name: &'static str, value: &HeaderValue| {
        let name = http::HeaderName::from_static(name);
        Precondition::from_headers(&[(name, value.clone())].into_iter().collect()).expect("a condition")
    };
    let (any, other) = (HeaderValue::from_static("*"), HeaderValue::from_static("\"other\""));
    for (round, len) in (1..).zip(LENS) {
        let attempt = async |number: u64, precondition: Precondition| {
            let upload = Sample::new(100 * round + number, len).upload(&message());
            store
                .put(upload.with_precondition(precondition))
                .await
                .map_err(|error| error.kind())
        };
        if refuses_conditions(&store, len).await {
            // In that case it also refuses uploads whose condition holds.
            let stored = attempt(1, headers("if-none-match", &other)).await;
            assert_eq!(
                stored,
                Err(ErrorKind::InvalidRequest),
                "a store checks every condition, or refuses all"
            );
            continue;
        }
        let failed = Err(ErrorKind::PreconditionFailed);
        if store.head(&message()).await.is_err() {
            for precondition in [headers("if-match", &any), headers("if-match", &other)] {
                assert_eq!(
                    attempt(1, precondition).await,
                    failed,
                    "nothing is stored that a tag could match"
                );
                assert_absent(&store, &message(), contract).await;
            }
        }
        Sample::new(100 * round + 2, len).put(&store, &message()).await;
        let stale = head(&store, &message()).await.etag;
        let current = Sample::new(100 * round + 3, len);
        current.put(&store, &message()).await;
        let etag = head(&store, &message()).await.etag;
        let mut failing = vec![Precondition::if_absent(), headers("if-match", &other)];
        failing.extend(stale.iter().map(Precondition::if_match));
        failing.extend(etag.iter().map(|etag| headers("if-none-match", etag)));
        for precondition in failing {
            assert_eq!(
                attempt(4, precondition.clone()).await,
                failed,
                "{contract}: {precondition:?}"
            );
            current.assert_under(&store, &message(), contract).await;
        }
        let mut holding = vec![headers("if-match", &any), headers("if-none-match", &other)];
        holding.extend(stale.iter().map(|etag| headers("if-none-match", etag)));
        for (number, precondition) in (5..).zip(holding) {
            let stored = attempt(number, precondition.clone()).await;
            assert_eq!(
                stored,
                Ok(PutResult::Replaced),
                "an upload whose condition holds is stored: {precondition:?}"
            );
            let sample = Sample::new(100 * round + number, len);
            sample
                .assert_under(&store, &message(), "an upload whose condition holds is stored")
                .await;
        }
    }
}

/// No two contents share a strong entity tag, even if one consists of the other and its metadata.
pub async fn never_gives_two_contents_one_etag(store: impl BlobStore) {
    let json = format!(r#"{{"transcription":"{}"}}"#, "x".repeat(3_000));
    let metadata = Metadata::from_json(json.clone()).expect("an object");
    for len in [0, 13, 150_000] {
        let content = noise(7, len);
        let longer = bytes::Bytes::from([&content[..], json.as_bytes()].concat());
        let mut seen: Vec<(bytes::Bytes, HeaderValue)> = Vec::new();
        for upload in [
            Upload::new(message(), longer.clone()),
            Upload::new(message(), content.clone()).with_metadata(metadata.clone()),
            Upload::new(message(), longer).with_metadata(metadata.clone()),
            Upload::new(message(), content.clone()),
        ] {
            put(&store, upload).await;
            let blob = get(&store, &message()).await;
            let Some(etag) = blob.info.etag.clone() else { return };
            if etag.as_bytes().starts_with(b"W/") {
                return;
            }
            let content = super::support::read(blob).await;
            for (other, tag) in &seen {
                assert!(
                    *tag != etag || *other == content,
                    "two contents never share an entity tag: {etag:?} is that of {} and of {} bytes",
                    other.len(),
                    content.len()
                );
            }
            seen.push((content, etag));
        }
    }
}
