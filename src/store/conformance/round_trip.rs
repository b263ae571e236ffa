//! Fetches return what was uploaded.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::HeaderValue;

use super::support::{Sample, Script, assert_absent, get, head, key, message, metadata, noise, part, put, read};
use crate::{
    body::Body,
    digest::Digest,
    error::ErrorKind,
    metadata::Metadata,
    store::{BlobStore, ByteRange, PutResult, Upload},
};

/// A fetch returns the content byte for byte, and the first `put` returns `Created`.
pub async fn returns_the_content_byte_for_byte(store: impl BlobStore) {
    let content = Bytes::from_static(b"\0some\r\ncontent\xff");
    let upload = Upload::new(message(), Body::from(content.clone()));
    let stored = put(&store, upload).await;
    assert_eq!(stored, PutResult::Created, "the first upload under a key is `Created`");
    let blob = get(&store, &message()).await;
    assert_eq!(
        blob.info.len,
        content.len() as u64,
        "`BlobInfo::len` is the file's length"
    );
    assert_eq!(
        blob.range,
        0..blob.info.len,
        "without a range, the blob is the whole file"
    );
    let info = blob.info.clone();
    assert_eq!(read(blob).await, content, "the content is the one that was uploaded");
    assert_eq!(
        head(&store, &message()).await,
        info,
        "`head` and `get` return the same description of the file"
    );
    assert_eq!(
        metadata(&store, &message()).await,
        None,
        "a file that was stored without metadata has none"
    );
}

/// An upload of zero bytes is a file of zero bytes.
pub async fn stores_an_empty_file(store: impl BlobStore) {
    put(&store, Upload::new(message(), Body::empty())).await;
    let blob = get(&store, &message()).await;
    assert_eq!(
        (blob.info.len, blob.range.clone()),
        (0, 0..0),
        "an empty file has no bytes"
    );
    assert_eq!(read(blob).await, "", "an empty file has no bytes");
    for range in [ByteRange::From(0), ByteRange::FromTo(0, 0), ByteRange::Last(1)] {
        let answer = store.get(&message(), Some(range)).await.map(drop);
        assert_eq!(
            answer.map_err(|error| error.kind()),
            Err(ErrorKind::RangeNotSatisfiable),
            "an empty file has no byte in {range}"
        );
    }
}

/// The content does not depend on the chunks of the body.
pub async fn stores_a_large_body_in_chunks_of_any_size(store: impl BlobStore) {
    let content = noise(1, (5 << 20) + 13);
    for size in [4093, 65_537, 1_000_003, content.len()] {
        let steps = Script::chunks(&content, size);
        put(&store, Upload::new(message(), Script::body(steps))).await;
        let blob = get(&store, &message()).await;
        if let Some(digest) = blob.info.digest {
            assert_eq!(
                digest,
                Digest::of(&content),
                "`BlobInfo::digest` is that of the content"
            );
        }
        let read = read(blob).await;
        assert!(read == content, "content in chunks of {size} bytes is returned");
    }
}

/// A body may arrive byte by byte.
pub async fn stores_a_body_that_arrives_byte_by_byte(store: impl BlobStore) {
    let content = noise(2, 10_000);
    put(
        &store,
        Upload::new(message(), Script::body(Script::chunks(&content, 1))),
    )
    .await;
    let read = read(get(&store, &message()).await).await;
    assert!(read == content, "content that arrives byte by byte is returned");
}

/// `Upload::len` is a hint that changes nothing about what is stored.
pub async fn treats_a_declared_length_as_a_hint(store: impl BlobStore) {
    for len in [0, 1, 100_000, 300_000] {
        let content = noise(3, len);
        let upload = Upload::new(message(), Script::body(Script::chunks(&content, 5_000)));
        put(&store, upload.with_len(len as u64)).await;
        let read = read(get(&store, &message()).await).await;
        assert!(read == content, "{len} bytes of declared length are returned");
    }
}

/// A key under which nothing was stored is `NotFound`, for `get`, `head` and `metadata`.
pub async fn reports_a_missing_key_as_not_found(store: impl BlobStore) {
    let contract = "a key under which nothing was stored is `NotFound`";
    assert_absent(&store, &message(), contract).await;
    put(&store, Upload::new(message(), "content")).await;
    for path in [
        "ACCOUNT/202401-DOCUMENT/other.mp3",
        "ACCOUNT/202401-DOCUMENT",
        "ACCOUNT",
        "ACCOUNT/202401-DOCUMENT/message.mp3/more",
        "ACCOUNT/202401-DOCUMENT/message.mp3/more/and/more",
        "202401-DOCUMENT/message.mp3",
    ] {
        assert_absent(&store, &key(path), contract).await;
    }
}

/// A file has the content type it was stored with, whatever its name.
pub async fn keeps_the_content_type(store: impl BlobStore) {
    for content_type in [
        "audio/mpeg",
        "audio/x-wav",
        "text/plain; charset=\"utf-8\"",
        "application/octet-stream",
    ] {
        let upload = Upload::new(message(), "content").with_content_type(HeaderValue::from_static(content_type));
        put(&store, upload).await;
        for info in [get(&store, &message()).await.info, head(&store, &message()).await] {
            let kept = info.content_type.as_ref().map(HeaderValue::as_bytes);
            assert_eq!(
                kept,
                Some(content_type.as_bytes()),
                "a file keeps the content type it was stored with"
            );
        }
    }
}

/// A file's metadata is the JSON text that it was stored with, byte for byte.
pub async fn keeps_metadata_byte_for_byte(store: impl BlobStore) {
    for json in [
        "{}",
        r#"{"id":"202401-DOCUMENT","metadata":{"call_id":"b3f6","length":12.50}}"#,
        "\r\n {\"b\" : 1,\n\t\"a\":63872533230, \"a\":1e400} \n",
        r#"{"name":"ünïcödé \u00e9 \ud83d\ude00 \" \\ \/"}"#,
    ] {
        let expected = Metadata::from_json(json).expect("an object");
        put(&store, Upload::new(message(), "content").with_metadata(expected)).await;
        let kept = metadata(&store, &message()).await;
        let kept = kept.expect("metadata that was stored is there");
        assert_eq!(&kept.as_json()[..], json.as_bytes(), "metadata is kept byte for byte");
    }
    let large = format!(r#"{{"transcription":"{}"}}"#, "word ".repeat(100_000));
    let expected = Metadata::from_json(large.clone()).expect("an object");
    put(&store, Upload::new(message(), "content").with_metadata(expected)).await;
    let kept = metadata(&store, &message()).await;
    assert!(
        kept.is_some_and(|kept| *kept.as_json() == large),
        "metadata of half a megabyte is kept byte for byte"
    );
}

/// `describe` returns what `head` and `metadata` return, also after the file was replaced.
pub async fn describes_a_file_with_its_metadata(store: impl BlobStore) {
    let long = format!(r#"{{"transcription":"{}"}}"#, "word ".repeat(1_000));
    for json in [None, Some(r#"{"n":12.50}"#), Some(&long), None, Some("{}")] {
        let document = json.map(|json| Metadata::from_json(json.to_owned()).expect("an object"));
        let mut upload = Sample::new(1, 10).upload(&message());
        upload.metadata.clone_from(&document);
        put(&store, upload).await;
        let described = store.describe(&message()).await;
        let (info, found) = described.expect("`describe` finds a stored file");
        let contract = "`describe` returns the description that `head` returns";
        assert_eq!(info, head(&store, &message()).await, "{contract}");
        let json = |metadata: Option<Metadata>| metadata.map(|metadata| metadata.as_json().clone());
        let contract = "`describe` returns the metadata that the file was stored with";
        assert_eq!(json(found), json(document), "{contract}");
    }
}

/// A range returns the existing bytes of the file in it, and `Blob::range` is their position.
pub async fn returns_the_bytes_of_a_range(store: impl BlobStore) {
    for len in [10, 70_000, 400_000] {
        let sample = Sample::new(len, usize::try_from(len).expect("small"));
        sample.put(&store, &message()).await;
        for range in [
            ByteRange::From(0),
            ByteRange::From(1),
            ByteRange::From(len - 1),
            ByteRange::FromTo(0, 0),
            ByteRange::FromTo(3, 5),
            ByteRange::FromTo(2, len - 2),
            ByteRange::FromTo(len - 1, u64::MAX),
            ByteRange::Last(1),
            ByteRange::Last(len - 1),
            ByteRange::Last(u64::MAX),
        ] {
            let expected = range.of(len).expect("bytes in range");
            let blob = part(&store, &message(), range).await;
            assert_eq!(
                blob.range, expected,
                "`Blob::range` tells which bytes of {len} are in {range}"
            );
            assert_eq!(blob.info.len, len, "`BlobInfo::len` is the length of the whole file");
            let at = |offset: u64| usize::try_from(offset).expect("small");
            let expected = sample.content.slice(at(expected.start)..at(expected.end));
            assert!(
                read(blob).await == expected,
                "the bytes of {len} in {range} are those of the file"
            );
        }
    }
}

/// A range without an existing byte is `RangeNotSatisfiable`.
pub async fn refuses_an_unsatisfiable_range(store: impl BlobStore) {
    put(&store, Upload::new(message(), "0123456789")).await;
    for range in [
        ByteRange::From(10),
        ByteRange::From(u64::MAX),
        ByteRange::FromTo(10, 20),
        ByteRange::FromTo(5, 4),
        ByteRange::Last(0),
    ] {
        let answer = store.get(&message(), Some(range)).await.map(drop);
        assert_eq!(
            answer.map_err(|error| error.kind()),
            Err(ErrorKind::RangeNotSatisfiable),
            "a file of 10 bytes has no byte in {range}"
        );
    }
    let answer = store.get(&key("missing"), Some(ByteRange::From(0))).await.map(drop);
    assert_eq!(
        answer.map_err(|error| error.kind()),
        Err(ErrorKind::NotFound),
        "a range of a missing file is `NotFound`"
    );
}

/// The modification time of a file, if a store returns one, is the time of its upload.
pub async fn dates_a_file_by_its_upload(store: impl BlobStore) {
    let contract = "`BlobInfo::modified` is the time at which the file was stored";
    // The clock of the store may differ from that of the test.
    let tolerance = Duration::from_secs(60);
    let mut last = None;
    for content in ["first", "second"] {
        let begun = SystemTime::now();
        put(&store, Upload::new(message(), content)).await;
        let Some(modified) = head(&store, &message()).await.modified else {
            return;
        };
        assert!(
            modified + tolerance >= begun && modified <= SystemTime::now() + tolerance,
            "{contract}: {modified:?}"
        );
        assert!(last <= Some(modified), "{contract}: a replacement is not older");
        last = Some(modified);
    }
}

/// A working store passes its check, which leaves nothing behind.
pub async fn passes_a_check_and_leaves_nothing_behind(store: impl BlobStore) {
    for _ in 0..2 {
        store.check().await.expect("a working store passes its check");
    }
    assert_absent(&store, &message(), "a check stores nothing").await;
    let sample = Sample::new(4, 100);
    sample.put(&store, &message()).await;
    store.check().await.expect("a working store passes its check");
    sample
        .assert_under(&store, &message(), "a check leaves stored files alone")
        .await;
}
