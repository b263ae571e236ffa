//! Files are stored completely or not at all, and readers never see a mixture.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;

use super::{
    held::Held,
    support::{
        Sample, Script, Step, assert_absent, blob, body_error, get, head, key, message, metadata, noise, put, read,
    },
};
use crate::{
    body::Body,
    store::{BlobStore, PutResult, Upload},
};

/// The number of bytes before a body fails: none, few, and more than a store buffers.
const BREAKS: [usize; 4] = [0, 1, 3_000, 600_000];

fn broken(sample: &Sample) -> Body {
    let mut steps = Script::chunks(&sample.content, 10_007);
    steps.push(Step::Fail(body_error()));
    Script::body(steps)
}

/// An upload whose body ends with an error fails with that error and stores nothing.
pub async fn stores_nothing_if_the_body_fails(store: impl BlobStore) {
    for len in BREAKS {
        let sample = Sample::new(1, len);
        let error = store.put(sample.upload_of(&message(), broken(&sample))).await.err();
        let error = error.expect("an upload whose body ends with an error is not stored");
        assert_eq!(error.kind(), body_error().kind(), "`put` returns the error of the body");
        assert_absent(
            &store,
            &message(),
            "an upload whose body ends with an error stores nothing",
        )
        .await;
    }
    let sample = Sample::new(2, 10);
    sample.put(&store, &message()).await;
    sample
        .assert_under(&store, &message(), "a store accepts uploads after a failed one")
        .await;
}

/// An upload whose body ends with an error leaves the stored file unchanged: content, type and metadata.
pub async fn keeps_the_old_file_if_the_body_fails(store: impl BlobStore) {
    let old = Sample::new(1, 200_000);
    old.put(&store, &message()).await;
    let info = head(&store, &message()).await;
    for len in BREAKS {
        let sample = Sample::new(2, len);
        let error = store.put(sample.upload_of(&message(), broken(&sample))).await.err();
        let error = error.expect("an upload whose body ends with an error is not stored");
        assert_eq!(error.kind(), body_error().kind(), "`put` returns the error of the body");
        let contract = "a failed upload leaves the stored file unchanged";
        old.assert_under(&store, &message(), contract).await;
        assert_eq!(head(&store, &message()).await, info, "{contract}");
    }
}

/// An upload is invisible until its body has ended: every reader finds the old file, or none.
pub async fn hides_an_upload_until_its_body_ends(store: impl BlobStore) {
    let contract = "an upload is invisible until its body has ended";
    let store = Arc::new(store);
    let mut old: Option<Sample> = None;
    for (number, len) in (0..).zip(BREAKS) {
        let sample = Sample::new(number, len);
        let held = Held::start(&store, &sample.content, |body| sample.upload_of(&message(), body)).await;
        match &old {
            Some(old) => old.assert_under(&store, &message(), contract).await,
            None => assert_absent(&store, &message(), contract).await,
        }
        held.store().await;
        sample
            .assert_under(&store, &message(), "from `Ok` on, every `get` sees the new file")
            .await;
        old = Some(sample);
    }
}

/// Starts an upload of `sample`, and drops it when all of the body but its end has been read.
async fn drop_midway<S: BlobStore>(store: &Arc<S>, sample: &Sample) {
    let held = Held::start(store, &sample.content, |body| sample.upload_of(&message(), body)).await;
    held.abort().await;
}

/// An upload that is dropped before its body has ended stores nothing.
pub async fn stores_nothing_if_an_upload_is_dropped(store: impl BlobStore) {
    let store = Arc::new(store);
    for len in BREAKS {
        drop_midway(&store, &Sample::new(1, len)).await;
        assert_absent(&store, &message(), "a dropped upload stores nothing").await;
    }
    let sample = Sample::new(2, 10);
    let stored = sample.put(&store, &message()).await;
    assert_eq!(stored, PutResult::Created, "a dropped upload stores nothing");
    sample
        .assert_under(&store, &message(), "a store accepts uploads after a dropped one")
        .await;
}

/// An upload that is dropped before its body has ended leaves the stored file unchanged.
pub async fn keeps_the_old_file_if_an_upload_is_dropped(store: impl BlobStore) {
    let store = Arc::new(store);
    let old = Sample::new(1, 200_000);
    old.put(&store, &message()).await;
    for len in BREAKS {
        drop_midway(&store, &Sample::new(2, len)).await;
        old.assert_under(&store, &message(), "a dropped upload leaves the stored file unchanged")
            .await;
    }
}

/// An upload to the key of a file replaces its content, content type and metadata, and returns `Replaced`.
pub async fn replaces_content_type_and_metadata_with_the_content(store: impl BlobStore) {
    let contract = "an upload replaces all of the old file";
    for (number, len) in [(1, 300_000), (2, 10), (3, 300_000), (4, 300_000)] {
        let sample = Sample::new(number, len);
        let stored = sample.put(&store, &message()).await;
        let expected = if number == 1 {
            PutResult::Created
        } else {
            PutResult::Replaced
        };
        assert_eq!(stored, expected, "`put` returns whether it replaced a file");
        sample.assert_under(&store, &message(), contract).await;
    }
    // An upload without metadata and content type removes the old ones.
    let stored = put(&store, Upload::new(message(), "new")).await;
    assert_eq!(stored, PutResult::Replaced, "`put` returns whether it replaced a file");
    let blob = get(&store, &message()).await;
    assert_ne!(
        blob.info.content_type,
        Some(Sample::new(4, 0).content_type()),
        "{contract}: the old content type remains"
    );
    assert_eq!(read(blob).await, "new", "{contract}");
    assert_eq!(
        metadata(&store, &message()).await,
        None,
        "{contract}: the old metadata remains"
    );
    let last = Sample::new(5, 10);
    last.put(&store, &message()).await;
    last.assert_under(&store, &message(), contract).await;
}

/// An entity tag, if a store returns one, is quoted, and differs for every content of a key.
pub async fn changes_the_etag_with_the_content(store: impl BlobStore) {
    let mut seen = Vec::new();
    for content in ["one", "two", "two", "three"] {
        put(&store, Upload::new(message(), content)).await;
        let info = head(&store, &message()).await;
        assert_eq!(
            get(&store, &message()).await.info.etag,
            info.etag,
            "`get` and `head` return the same entity tag"
        );
        let Some(etag) = info.etag else { return };
        let text = etag.to_str().expect("an entity tag is text").to_owned();
        let opaque = text.strip_prefix("W/").unwrap_or(&text);
        assert!(
            opaque.len() >= 2 && opaque.starts_with('"') && opaque.ends_with('"'),
            "an entity tag has its quotes: {text}"
        );
        seen.push((content, text));
    }
    for (position, (content, etag)) in seen.iter().enumerate() {
        for (other, earlier) in &seen[..position] {
            assert!(
                content == other || etag != earlier,
                "an entity tag differs for every content: {etag} is that of `{content}` and of `{other}`"
            );
        }
    }
}

/// Returns a body that yields to other tasks after every chunk.
fn halting(content: &Bytes, size: usize) -> Body {
    let steps = Script::chunks(content, size);
    Script::body(steps.into_iter().flat_map(|step| [step, Step::Yield]))
}

/// Concurrent uploads of one key all succeed, and the whole content of one of them remains.
pub async fn accepts_concurrent_uploads_of_one_key_and_keeps_one_whole(store: impl BlobStore) {
    let store = Arc::new(store);
    for (round, len) in (0..).zip([1_000, 1_000, 300_000]) {
        let samples: Vec<_> = (0..8).map(|number| Sample::new(100 * round + number, len)).collect();
        let tasks: Vec<_> = samples
            .iter()
            .map(|sample| {
                let upload = sample.upload_of(&message(), halting(&sample.content, len / 7));
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.put(upload).await })
            })
            .collect();
        for task in tasks {
            let stored = task.await.expect("`put` does not panic");
            stored.expect("concurrent uploads of one key all succeed");
        }
        let content = read(get(&store, &message()).await).await;
        let winner = samples.iter().find(|sample| sample.content == content);
        let winner = winner.expect("the whole content of one upload remains: the content is a mixture");
        winner
            .assert_under(&store, &message(), "the whole content of one upload remains")
            .await;
    }
}

/// Concurrent uploads of different keys, in new directories, are all stored.
pub async fn accepts_concurrent_uploads_of_different_keys(store: impl BlobStore) {
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..24)
        .map(|number| {
            let key = key(&format!("ACCOUNT/{}/{}/message.mp3", number / 8, number / 2));
            let key = if number % 2 == 0 {
                key
            } else {
                self::key(&format!("{key}.wav"))
            };
            let sample = Sample::new(number, 2_000);
            let upload = sample.upload_of(&key, halting(&sample.content, 500));
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                store
                    .put(upload)
                    .await
                    .expect("concurrent uploads of different keys are all stored");
                (key, sample)
            })
        })
        .collect();
    for task in tasks {
        let (key, sample) = task.await.expect("concurrent uploads of different keys are all stored");
        sample
            .assert_under(&store, &key, "concurrent uploads of different keys are all stored")
            .await;
    }
}

/// While a file is replaced repeatedly, every reader finds exactly one of the uploaded files.
///
/// A body may end with an error, which is not a mixture.
pub async fn returns_one_whole_file_while_it_is_replaced(store: impl BlobStore) {
    let store = Arc::new(store);
    let samples: Arc<[Sample]> = (0..6).map(|number| Sample::new(number, 90_000)).collect();
    samples[0].put(&store, &message()).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(read_until(Arc::clone(&store), Arc::clone(&samples), Arc::clone(&done))))
        .collect();
    for round in 0..60 {
        if readers.iter().any(tokio::task::JoinHandle::is_finished) {
            break; // It has found a violation.
        }
        let sample = &samples[round % samples.len()];
        put(&store, sample.upload_of(&message(), halting(&sample.content, 20_000))).await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.expect("a reader never sees a mixture or a missing file");
    }
}

async fn read_until<S: BlobStore>(store: Arc<S>, samples: Arc<[Sample]>, done: Arc<AtomicBool>) {
    // One more round after the last upload, and at least one.
    let mut last = false;
    while !last {
        last = done.load(Ordering::Acquire);
        let fetched = store.get(&message(), None).await;
        let blob = blob(fetched.expect("the file exists while it is replaced: `get` failed"));
        let info = blob.info;
        if let Ok(content) = blob.body.collect().await {
            let content = content.to_bytes();
            let sample = samples.iter().find(|sample| sample.content == content);
            let sample = sample.expect("a reader never sees a mixture of two contents");
            assert_eq!(
                info.content_type,
                Some(sample.content_type()),
                "a reader never sees the content of one file with the type of another"
            );
        }
        // Metadata and type need two calls, and are compared if the file was not replaced in between. The tag alone is
        // not sufficient: a tag that is a digest repeats after a round of all samples.
        let before = head(&store, &message()).await;
        let found = metadata(&store, &message()).await;
        let after = head(&store, &message()).await;
        let found = found.expect("every one of the files has metadata: it is missing");
        let sample = samples.iter().find(|sample| sample.metadata() == found);
        let sample = sample.expect("metadata is that of one of the files");
        if before.etag.is_some() && before == after {
            assert_eq!(
                before.content_type,
                Some(sample.content_type()),
                "a reader never sees the content of one file with the metadata of another"
            );
        }
        tokio::task::yield_now().await;
    }
}

/// A reader that began before a replacement reads the old content to its end, or its body ends with an error.
pub async fn returns_the_old_content_to_a_reader_that_began_before(store: impl BlobStore) {
    for len in [1_000, 3 << 20] {
        let (old, new) = (noise(1, len), noise(2, len));
        put(&store, Upload::new(message(), old.clone())).await;
        let mut body = get(&store, &message()).await.body;
        let mut seen = Vec::new();
        let first = body.frame().await.expect("a body has a first chunk");
        if let Ok(Ok(data)) = first.map(http_body::Frame::into_data) {
            seen.extend_from_slice(&data);
        }
        put(&store, Upload::new(message(), new.clone())).await;
        if let Ok(rest) = body.collect().await {
            seen.extend_from_slice(&rest.to_bytes());
            assert!(
                seen == old,
                "a reader that began before a replacement reads the old content to its end"
            );
        }
        assert!(
            read(get(&store, &message()).await).await == new,
            "from `Ok` on, every `get` sees the new content"
        );
    }
}
