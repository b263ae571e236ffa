//! Memory for metadata of the maximum length in any form, and for failing requests.

use std::{
    convert::Infallible,
    future::{Future as _, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use kazoo_storage::{
    BlobStore, Body, Error, ErrorKind, KazooStorage, RetryAfter, SplitMultipart, extract_key::MetadataKey,
};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{
    BOUND, Discard, alone, assert_held, block_on,
    body::{BOUNDARY, Generated, multipart_of},
    measured,
};

/// Just below the limit.
const LONGEST: usize = SplitMultipart::DEFAULT_MAX_METADATA - 1024;

/// As much as there is time for.
const LEN: usize = if cfg!(debug_assertions) { LONGEST / 4 } else { LONGEST };

/// An object of at most `LEN` bytes: `before`, as many `repeated` as fit, `after`.
fn object(before: &str, repeated: impl Fn(usize) -> String, after: &str) -> String {
    let mut text = before.to_owned();
    for n in 0.. {
        let more = repeated(n);
        if text.len() + more.len() + after.len() > LEN {
            break;
        }
        text += &more;
    }
    text + after
}

fn shapes() -> Vec<(&'static str, String)> {
    let half = LEN / 2 - 40;
    vec![
        (
            "objects",
            object(r#"{"q":[{"":0}"#, |_| r#",{"":0}"#.into(), r#"],"id":"D"}"#),
        ),
        (
            "objects where a name is looked for",
            object(r#"{"source_type":[0"#, |_| r#",{"":0}"#.into(), r#"],"id":"D"}"#),
        ),
        ("numbers", object(r#"{"q":[0"#, |_| ",0".into(), r#"],"id":"D"}"#)),
        ("names", object("{", |n| format!(r#""{n}":0,"#), r#""id":"D"}"#)),
        (
            "names in the nested object",
            object(r#"{"metadata":{"#, |n| format!(r#""{n}":0,"#), r#""id":"D"}}"#),
        ),
        ("the same name", object("{", |_| r#""id":"D","#.into(), r#""id":"D"}"#)),
        (
            "the same nested object",
            object("{", |_| r#""metadata":{"id":"E"},"#.into(), r#""id":"D"}"#),
        ),
        (
            "depth",
            format!(r#"{{"id":"D","q":{}{}}}"#, "[".repeat(half), "]".repeat(half)),
        ),
        (
            "depth where a name is looked for",
            format!(r#"{{"id":"D","source_type":{}{}}}"#, "[".repeat(half), "]".repeat(half)),
        ),
        (
            "a long number",
            object(r#"{"id":"D","q":1"#, |_| "1234567890".into(), "}"),
        ),
        (
            "a long number where a name is looked for",
            object(r#"{"id":"D","source_type":1"#, |_| "1234567890".into(), "}"),
        ),
        (
            "escapes",
            object(r#"{"id":"D","source_type":""#, |_| r"\u00e9\n".into(), r#""}"#),
        ),
        (
            "escapes in a name",
            object(r#"{"id":"D",""#, |_| r"\u00e9\n".into(), r#"":0}"#),
        ),
        ("white space", object(r#"{"id":"D"}"#, |_| "\t\n".into(), " ")),
    ]
}

fn upload(json: &str) -> Request<Generated> {
    let head = format!(
        "\r\n--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{json}\r\n--{BOUNDARY}\r\ncontent-type: audio/x-wav\r\n\r\n"
    );
    // In separate chunks, as from a socket.
    let mut body = Generated::new(b"RIFF", 1 << 20).between(head, format!("\r\n--{BOUNDARY}--"));
    body.split = true;
    multipart_of("/ACC/DOC/ATT.wav", body)
}

/// Asserts a bound of `copies` of the text plus that of any upload.
fn hold(what: &str, store: impl BlobStore, copies: usize) {
    let storage = KazooStorage::new(store);
    let storage = storage.observe(kazoo_storage::observe::Metrics::new());
    let by_path = storage.clone().into_service();
    let by_metadata = storage.key(MetadataKey::new(["media_id", "id"])).into_service();
    for (shape, json) in shapes() {
        for (key, service) in [("path", &by_path), ("metadata", &by_metadata)] {
            let (answer, held) = block_on(async { measured(service.clone().oneshot(upload(&json))).await });
            assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{shape}");
            assert_held(&format!("{what}, {shape}, key by {key}"), held, BOUND + copies * LEN);
        }
    }
}

#[test]
fn metadata_costs_a_small_multiple_of_its_text() {
    let _alone = alone();
    hold("discarded", Discard::default(), 3);
}

#[test]
fn stored_metadata_costs_a_small_multiple_of_its_text() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let store = kazoo_storage::store::FsStore::options()
        .durable(false)
        .open(directory.path())
        .unwrap();
    hold("files", store, 8);
}

/// A body that never continues.
struct Unfinished(Generated);

impl HttpBody for Unfinished {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match Pin::new(&mut self.0).poll_frame(cx) {
            Poll::Ready(None) => Poll::Pending,
            frame => frame,
        }
    }
}

#[test]
fn holds_unfinished_metadata_once() {
    let _alone = alone();
    for chunk in [16, 1_000, 64 << 10] {
        let begun = format!("\r\n--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{{\"");
        let body = Generated::in_chunks(chunk, b"x", LONGEST as u64).between(begun, "");
        let request = multipart_of("/ACC/DOC/ATT.wav", body).map(Unfinished);
        let service = KazooStorage::new(Discard::default()).into_service();
        let held = block_on(async {
            let mut answer = pin!(service.clone().oneshot(request));
            let polled = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending()));
            let (pending, held) = measured(polled).await;
            assert!(pending);
            held
        });
        assert_held(
            &format!("unfinished metadata, chunks of {chunk}"),
            held,
            BOUND + LONGEST,
        );
    }
}

#[test]
fn remembers_failing_requests_in_a_table_of_fixed_size() {
    let _alone = alone();
    let down = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Error::new(ErrorKind::Unavailable, "down").to_response())
    });
    let service = RetryAfter::default().layer(down);
    let long = "x".repeat(1_000);
    let ((), held) = block_on(measured(async {
        for n in 0..20_000 {
            let request = Request::put(format!("/{n}/{long}")).body(Body::empty()).unwrap();
            let response = service.clone().oneshot(request).await.unwrap();
            assert!(response.headers().contains_key(header::RETRY_AFTER));
        }
    }));
    assert_held("20 000 failing requests", held, 1 << 20);
}
