//! A file is stored whole or not at all, and is read whole.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, oneshot};

use super::support::{
    Sample, Script, Step, assert_absent, blob, cut, get, head, key, message, metadata, noise, put, read,
};
use crate::{
    body::Body,
    store::{BlobStore, Stored, Upload},
};

/// How much of a body comes before it breaks: nothing, a little, and more than a store gathers before it writes.
const BREAKS: [usize; 4] = [0, 1, 3_000, 600_000];

fn broken(sample: &Sample) -> Body {
    let mut steps = Script::chunks(&sample.content, 10_007);
    steps.push(Step::Fail(cut()));
    Script::body(steps)
}

/// An upload whose body ends with an error fails with that error and stores nothing.
pub async fn an_error_in_the_body_stores_nothing(store: impl BlobStore) {
    for len in BREAKS {
        let sample = Sample::new(1, len);
        let error = store.put(sample.upload_of(&message(), broken(&sample))).await.err();
        let error = error.expect("an upload whose body ends with an error is not stored");
        assert_eq!(error.kind(), cut().kind(), "`put` returns the error of the body");
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
        .assert_under(&store, &message(), "a store works on after an upload that failed")
        .await;
}

/// An upload whose body ends with an error leaves what was stored before as it was: content, type and metadata.
pub async fn an_error_in_the_body_keeps_what_was_stored(store: impl BlobStore) {
    let old = Sample::new(1, 200_000);
    old.put(&store, &message()).await;
    let info = head(&store, &message()).await;
    for len in BREAKS {
        let sample = Sample::new(2, len);
        let error = store.put(sample.upload_of(&message(), broken(&sample))).await.err();
        let error = error.expect("an upload whose body ends with an error is not stored");
        assert_eq!(error.kind(), cut().kind(), "`put` returns the error of the body");
        let contract = "an upload that failed leaves what was stored as it was";
        old.assert_under(&store, &message(), contract).await;
        assert_eq!(head(&store, &message()).await, info, "{contract}");
    }
}

/// An upload under way shows nothing of itself: until its body has ended, every reader finds what was there before.
pub async fn an_upload_under_way_is_invisible(store: impl BlobStore) {
    let contract = "an upload shows nothing of itself before its body has ended";
    let store = Arc::new(store);
    let mut old: Option<Sample> = None;
    for (number, len) in (0..).zip(BREAKS) {
        let sample = Sample::new(number, len);
        let reached = Arc::new(Notify::new());
        let (open, go_on) = oneshot::channel();
        let mut steps = Script::chunks(&sample.content, 10_007);
        steps.push(Step::Wait {
            reached: Arc::clone(&reached),
            go_on,
        });
        let upload = sample.upload_of(&message(), Script::body(steps));
        let task = tokio::spawn({
            let store = Arc::clone(&store);
            async move { store.put(upload).await }
        });
        reached.notified().await;
        match &old {
            Some(old) => old.assert_under(&store, &message(), contract).await,
            None => assert_absent(&store, &message(), contract).await,
        }
        open.send(()).expect("an upload waits for the end of its body");
        let stored = task.await.expect("`put` does not panic");
        stored.expect("an upload whose body ends is stored");
        sample
            .assert_under(&store, &message(), "from `Ok` on, every `get` sees the new file")
            .await;
        old = Some(sample);
    }
}

/// Starts an upload of `sample`, waits until its body has given everything but its end, and drops it.
async fn drop_midway<S: BlobStore>(store: &Arc<S>, sample: &Sample) {
    let reached = Arc::new(Notify::new());
    let (_never, go_on) = oneshot::channel();
    let mut steps = Script::chunks(&sample.content, 10_007);
    steps.push(Step::Wait {
        reached: Arc::clone(&reached),
        go_on,
    });
    let upload = sample.upload_of(&message(), Script::body(steps));
    let task = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.put(upload).await }
    });
    reached.notified().await;
    task.abort();
    let ended = task.await;
    assert!(
        ended.is_err_and(|error| error.is_cancelled()),
        "an upload waits for the end of its body"
    );
}

/// An upload that is dropped before its body has ended stores nothing.
pub async fn a_dropped_upload_stores_nothing(store: impl BlobStore) {
    let store = Arc::new(store);
    for len in BREAKS {
        drop_midway(&store, &Sample::new(1, len)).await;
        assert_absent(&store, &message(), "a dropped upload stores nothing").await;
    }
    let sample = Sample::new(2, 10);
    let stored = sample.put(&store, &message()).await;
    assert_eq!(stored, Stored::Created, "a dropped upload stores nothing");
    sample
        .assert_under(&store, &message(), "a store works on after an upload that was dropped")
        .await;
}

/// An upload that is dropped before its body has ended leaves what was stored before as it was.
pub async fn a_dropped_upload_keeps_what_was_stored(store: impl BlobStore) {
    let store = Arc::new(store);
    let old = Sample::new(1, 200_000);
    old.put(&store, &message()).await;
    for len in BREAKS {
        drop_midway(&store, &Sample::new(2, len)).await;
        old.assert_under(&store, &message(), "a dropped upload leaves what was stored as it was")
            .await;
    }
}

/// An upload under a key that holds a file replaces all of it, its content type and its metadata too, and says so.
pub async fn an_upload_replaces_all_of_the_old_file(store: impl BlobStore) {
    let contract = "an upload replaces all of the old file";
    for (number, len) in [(1, 300_000), (2, 10), (3, 300_000), (4, 300_000)] {
        let sample = Sample::new(number, len);
        let stored = sample.put(&store, &message()).await;
        let expected = if number == 1 { Stored::Created } else { Stored::Replaced };
        assert_eq!(stored, expected, "`put` says whether a file gave way");
        sample.assert_under(&store, &message(), contract).await;
    }
    // Without metadata and content type, none of the old ones is left.
    let stored = put(&store, Upload::new(message(), "new")).await;
    assert_eq!(stored, Stored::Replaced, "`put` says whether a file gave way");
    let blob = get(&store, &message()).await;
    assert_ne!(
        blob.info.content_type,
        Some(Sample::new(4, 0).content_type()),
        "{contract}: the old content type is left"
    );
    assert_eq!(read(blob).await, "new", "{contract}");
    assert_eq!(
        metadata(&store, &message()).await,
        None,
        "{contract}: the old metadata is left"
    );
    let last = Sample::new(5, 10);
    last.put(&store, &message()).await;
    last.assert_under(&store, &message(), contract).await;
}

/// An entity tag, if a store gives one, has its quotes, and is another for every content the key has had.
pub async fn an_etag_changes_with_the_content(store: impl BlobStore) {
    let mut seen = Vec::new();
    for content in ["one", "two", "two", "three"] {
        put(&store, Upload::new(message(), content)).await;
        let info = head(&store, &message()).await;
        assert_eq!(
            get(&store, &message()).await.info.etag,
            info.etag,
            "`get` and `head` give one entity tag"
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

/// A body that lets other tasks run after every chunk.
fn halting(content: &Bytes, size: usize) -> Body {
    let steps = Script::chunks(content, size);
    Script::body(steps.into_iter().flat_map(|step| [step, Step::Yield]))
}

/// Uploads of one key at the same time all succeed, and one of them wins whole.
pub async fn concurrent_uploads_of_one_key_all_succeed_and_one_wins_whole(store: impl BlobStore) {
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
            stored.expect("uploads of one key at the same time all succeed");
        }
        let content = read(get(&store, &message()).await).await;
        let winner = samples.iter().find(|sample| sample.content == content);
        let winner = winner.expect("one of several uploads wins whole: the content is a mixture");
        winner
            .assert_under(&store, &message(), "one of several uploads wins whole")
            .await;
    }
}

/// Uploads of different keys at the same time, in directories that none has used before, are all stored.
pub async fn concurrent_uploads_of_many_keys_do_not_meet(store: impl BlobStore) {
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
                store.put(upload).await.expect("uploads of different keys do not meet");
                (key, sample)
            })
        })
        .collect();
    for task in tasks {
        let (key, sample) = task.await.expect("uploads of different keys do not meet");
        sample
            .assert_under(&store, &key, "uploads of different keys do not meet")
            .await;
    }
}

/// While a file is replaced again and again, every reader finds a file, and each is one of them whole.
///
/// A body that ends with an error is honest, and no mixture.
pub async fn a_reader_never_sees_a_mixture_or_a_gap(store: impl BlobStore) {
    let store = Arc::new(store);
    let samples: Arc<[Sample]> = (0..6).map(|number| Sample::new(number, 90_000)).collect();
    samples[0].put(&store, &message()).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| tokio::spawn(read_until(Arc::clone(&store), Arc::clone(&samples), Arc::clone(&done))))
        .collect();
    for round in 0..60 {
        if readers.iter().any(tokio::task::JoinHandle::is_finished) {
            break; // It has seen what it must not.
        }
        let sample = &samples[round % samples.len()];
        put(&store, sample.upload_of(&message(), halting(&sample.content, 20_000))).await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        reader.await.expect("a reader never sees a mixture or a gap");
    }
}

async fn read_until<S: BlobStore>(store: Arc<S>, samples: Arc<[Sample]>, done: Arc<AtomicBool>) {
    // One more round after the last upload, and at least one.
    let mut last = false;
    while !last {
        last = done.load(Ordering::Acquire);
        let fetched = store.get(&message(), None).await;
        let blob = blob(fetched.expect("there is no gap while a file is replaced: `get` failed"));
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
        // A file's metadata and its type are asked for separately, and compared if it was one file all the while.
        let before = head(&store, &message()).await;
        let found = metadata(&store, &message()).await;
        let after = head(&store, &message()).await;
        let found = found.expect("every one of the files has metadata: there is a gap");
        let sample = samples.iter().find(|sample| sample.metadata() == found);
        let sample = sample.expect("metadata is that of one of the files, whole");
        if before.etag.is_some() && before.etag == after.etag {
            assert_eq!(
                before.content_type,
                Some(sample.content_type()),
                "a reader never sees the content of one file with the metadata of another"
            );
        }
        tokio::task::yield_now().await;
    }
}

/// A reader that has begun before a file is replaced reads the old one to its end, or its body ends with an error.
pub async fn a_slow_reader_is_not_given_the_new_file(store: impl BlobStore) {
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
                "a file that is replaced while it is being read is read to its end as it was"
            );
        }
        assert!(
            read(get(&store, &message()).await).await == new,
            "from `Ok` on, every `get` sees the new content"
        );
    }
}
