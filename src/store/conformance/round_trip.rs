//! What goes in comes out.

use bytes::Bytes;

use super::support::{Sample, Script, assert_absent, get, head, key, message, metadata, noise, part, put, read};
use crate::{
    body::Body,
    digest::Digest,
    error::ErrorKind,
    metadata::Metadata,
    store::{BlobStore, ByteRange, Stored, Upload},
};

/// A file is fetched byte for byte as it was stored, and `put` says that it is new.
pub async fn a_body_comes_back_byte_for_byte(store: impl BlobStore) {
    let content = Bytes::from_static(b"\0some\r\ncontent\xff");
    let upload = Upload::new(message(), Body::from(content.clone()));
    let stored = put(&store, upload).await;
    assert_eq!(stored, Stored::Created, "the first upload under a key is `Created`");
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
        "`head` says what `get` says of the same file"
    );
    assert_eq!(
        metadata(&store, &message()).await,
        None,
        "a file that was stored without metadata has none"
    );
}

/// An upload without a byte is a file without a byte.
pub async fn an_empty_file_is_a_file(store: impl BlobStore) {
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

/// The way a body is cut into chunks leaves no trace, whatever its length.
pub async fn a_large_body_in_odd_chunks_comes_back(store: impl BlobStore) {
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
        assert!(
            read == content,
            "content that came in chunks of {size} bytes comes back"
        );
    }
}

/// A body can come byte by byte.
pub async fn a_body_byte_by_byte_comes_back(store: impl BlobStore) {
    let content = noise(2, 10_000);
    put(
        &store,
        Upload::new(message(), Script::body(Script::chunks(&content, 1))),
    )
    .await;
    let read = read(get(&store, &message()).await).await;
    assert!(read == content, "content that came byte by byte comes back");
}

/// `Upload::len` is a hint that changes nothing about what is stored.
pub async fn a_declared_length_changes_nothing(store: impl BlobStore) {
    for len in [0, 1, 100_000, 300_000] {
        let content = noise(3, len);
        let mut upload = Upload::new(message(), Script::body(Script::chunks(&content, 5_000)));
        upload.len = Some(len as u64);
        put(&store, upload).await;
        let read = read(get(&store, &message()).await).await;
        assert!(read == content, "{len} bytes of declared length come back");
    }
}

/// A key under which nothing was stored is `NotFound`, for `get`, `head` and `metadata`.
pub async fn a_missing_key_is_not_found(store: impl BlobStore) {
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
pub async fn the_content_type_is_kept(store: impl BlobStore) {
    for content_type in [
        "audio/mpeg",
        "audio/x-wav",
        "text/plain; charset=\"utf-8\"",
        "application/octet-stream",
    ] {
        let mut upload = Upload::new(message(), "content");
        upload.content_type = Some(content_type.parse().expect("a header value"));
        put(&store, upload).await;
        for info in [get(&store, &message()).await.info, head(&store, &message()).await] {
            let kept = info.content_type.as_ref().map(http::HeaderValue::as_bytes);
            assert_eq!(
                kept,
                Some(content_type.as_bytes()),
                "a file keeps the content type it was stored with"
            );
        }
    }
}

/// A file's metadata is the JSON text that it was stored with, byte for byte.
pub async fn metadata_is_kept_byte_for_byte(store: impl BlobStore) {
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

/// A range is answered with those bytes of the file that it names and that exist, and says which.
pub async fn a_range_is_those_bytes(store: impl BlobStore) {
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
                "`Blob::range` says which bytes of {len} are in {range}"
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

/// A range of which no byte exists is `RangeNotSatisfiable`.
pub async fn a_range_without_a_byte_is_refused(store: impl BlobStore) {
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

/// A store that works says so when it is checked, and what the check stores is gone afterwards.
pub async fn a_check_leaves_nothing_behind(store: impl BlobStore) {
    for _ in 0..2 {
        store.check().await.expect("a store that works passes its check");
    }
    assert_absent(&store, &message(), "a check stores nothing").await;
    let sample = Sample::new(4, 100);
    sample.put(&store, &message()).await;
    store.check().await.expect("a store that works passes its check");
    sample
        .assert_under(&store, &message(), "a check leaves stored files alone")
        .await;
}
