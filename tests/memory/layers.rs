//! Every layer alone.

use std::{
    convert::Infallible,
    io::{self},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    AnswerProbe, Base64, BlobKey, Body, ConfirmBody, DecodeBase64, DrainBody, Event, ExtractKey, LimitBody, Observe,
    PathKey, RejectStalledBody, SplitMultipart, VerifyDigest, metadata::MediaPart,
};
use tower::{Layer, Service, ServiceExt as _, service_fn, util::BoxCloneSyncService};

use super::{
    BOUND, CHUNK, Discard, ENDLESS, LONG, MIB, alone, assert_held, block_on,
    body::{BASE64, BOUNDARY, Generated, multipart, multipart_of, raw},
    measured,
};

/// Sends `request` through `layer` to a service that discards the body. Returns the answer, the number of bytes that
/// reached the service, and the peak memory.
fn through<L>(layer: &L, request: Request<Generated>) -> (StatusCode, u64, usize)
where
    L: Layer<Sink>,
    L::Service: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    block_on(async {
        let discard = Discard::default();
        let service = layer.layer(sink(discard.clone()));
        let (answer, held) = measured(service.oneshot(request.map(Body::new))).await;
        (answer.unwrap().status(), discard.bytes(), held)
    })
}

/// The innermost service behind a measured layer.
type Sink = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

fn sink(discard: Discard) -> Sink {
    Sink::new(service_fn(move |request: Request<Body>| {
        let discard = discard.clone();
        async move {
            Ok(match discard.drain(request.into_body()).await {
                Ok(()) => Response::new(Body::empty()),
                Err(error) => error.to_response(),
            })
        }
    }))
}

#[test]
fn bounds_every_layer() {
    let _alone = alone();
    let check = |name: &str, came: u64, (status, bytes, held): (StatusCode, u64, usize)| {
        assert_eq!((status, bytes), (StatusCode::OK, came), "{name}");
        assert_held(name, held, BOUND);
    };
    let plain = || raw("/ACC/DOC/ATT.wav", LONG);
    let encoded = |chunk| {
        let body = Generated::in_chunks(chunk, BASE64, LONG / 4);
        Request::put("/")
            .header("content-type", "audio/x-wav")
            .extension(MediaPart::default())
            .body(body)
            .unwrap()
    };
    check("Observe", LONG, through(&Observe::new(|_: &Event<'_>| ()), plain()));
    let stalled = RejectStalledBody::new(Duration::from_secs(30));
    check("RejectStalledBody", LONG, through(&stalled, plain()));
    check("DrainBody", LONG, through(&DrainBody::new(), plain()));
    check("ConfirmBody", LONG, through(&ConfirmBody::new(), plain()));
    check("LimitBody", LONG, through(&LimitBody::new(u64::MAX), plain()));
    check("ExtractKey", LONG, through(&ExtractKey::new(PathKey), plain()));
    check(
        "AnswerProbe",
        LONG,
        through(&AnswerProbe::new(async || Ok(())), plain()),
    );
    let mut digested = plain();
    let digest = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:, crc32c=:AAAAAA==:";
    digested.headers_mut().insert("content-digest", digest.parse().unwrap());
    let (status, _, held) = through(&VerifyDigest::new(), digested);
    assert_eq!(status, StatusCode::BAD_REQUEST, "VerifyDigest");
    assert_held("VerifyDigest", held, BOUND);
    check("SplitMultipart, plain", LONG, through(&SplitMultipart::new(), plain()));
    let split = |pattern: &[u8]| through(&SplitMultipart::new(), multipart("/", pattern, LONG));
    check("SplitMultipart", LONG, split(b"RIFF\x00\xff"));
    // Almost a delimiter, as long as possible.
    check("SplitMultipart, line breaks", LONG, split(b"\r\n"));
    check("SplitMultipart, near-delimiters", LONG, split(b"\r\n---Bq_-Zk29rt"));
    for mode in [Base64::Detect, Base64::Declared] {
        let name = format!("DecodeBase64, {mode:?}");
        check(&name, LONG / 16 * 3, through(&DecodeBase64::new(mode), encoded(CHUNK)));
        let name = format!("DecodeBase64, {mode:?}, odd chunks");
        check(
            &name,
            LONG / 16 * 3,
            through(&DecodeBase64::new(mode), encoded(CHUNK - 3)),
        );
    }
}

#[test]
fn detects_a_layer_that_keeps_the_body() {
    let _alone = alone();
    let keeps = tower::layer::layer_fn(|sink: Sink| {
        service_fn(move |request: Request<Body>| {
            let sink = sink.clone();
            async move {
                let kept = request.into_body().collect().await.unwrap().to_bytes();
                sink.oneshot(Request::new(Body::from(kept))).await
            }
        })
    });
    let (_, _, held) = through(&keeps, raw("/", 4 * MIB));
    assert!(held >= 4 << 20, "{held}");
}

/// A large chunk is split, not copied as a whole.
#[test]
fn holds_a_large_chunk_once() {
    let _alone = alone();
    let large = 4 << 20;
    let (status, _, held) = through(&SplitMultipart::new(), {
        let mut request = multipart("/", b"RIFF", 16 * MIB);
        request.body_mut().repeated = b"RIFF".iter().copied().cycle().take(large).collect();
        request
    });
    assert_eq!(status, StatusCode::OK);
    assert_held("SplitMultipart, chunks of 4 MiB", held, large + BOUND);
    let body = Generated::in_chunks(large, BASE64, 16 * MIB);
    let encoded = Request::put("/")
        .header("content-type", "audio/mpeg")
        .extension(MediaPart::default())
        .body(body)
        .unwrap();
    let (status, _, held) = through(&DecodeBase64::new(Base64::Detect), encoded);
    assert_eq!(status, StatusCode::OK);
    // Only the inspected start is copied.
    assert_held("DecodeBase64, chunks of 4 MiB", held, 2 * large + BOUND);
}

/// Hostile bodies are refused long before their end, with little memory.
#[test]
fn refuses_hostile_bodies_early() {
    const MAX_METADATA: usize = 16 << 10;
    let _alone = alone();
    let json_part = format!("--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n");
    let media_part = format!("{json_part}{{}}\r\n--{BOUNDARY}\r\ncontent-type: a/b\r\n\r\n");
    let endless = |pattern: &[u8], head: &str| Generated::new(pattern, ENDLESS).between(head.to_owned(), "");
    let undelimited = |body| {
        Request::put("/")
            .header("content-type", "multipart/mixed")
            .body(body)
            .unwrap()
    };
    let with_boundary = |body| multipart_of("/", body);
    let part = format!("\r\n--{BOUNDARY}\r\ncontent-type: a/b\r\n\r\n");
    let cases = [
        ("a preamble", with_boundary(endless(b"preamble\r\n", ""))),
        ("a preamble of line breaks", with_boundary(endless(b"\r\n", ""))),
        (
            "a part's headers",
            with_boundary(endless(b"x-y: z\r\n", &format!("--{BOUNDARY}\r\n"))),
        ),
        (
            "one header of a part",
            with_boundary(endless(b"z", &format!("--{BOUNDARY}\r\nx-y: "))),
        ),
        (
            "the headers of the media",
            with_boundary(endless(b"x-y: z\r\n", &format!("{json_part}{{}}\r\n--{BOUNDARY}\r\n"))),
        ),
        (
            "an epilogue",
            with_boundary(endless(b"epilogue", &format!("{media_part}ID3\r\n--{BOUNDARY}--\r\n"))),
        ),
        ("parts", with_boundary(endless(part.as_bytes(), &media_part))),
        ("a first line", undelimited(endless(b"-", ""))),
        ("a first line of line breaks", undelimited(endless(b"\r\n", ""))),
        ("metadata", with_boundary(endless(b" ", &json_part))),
    ];
    for (name, request) in cases {
        let read = Arc::new(AtomicU64::new(0));
        let counted = request.map(|body| Counted(body, Arc::clone(&read)));
        let layer = SplitMultipart::new().max_metadata(MAX_METADATA);
        let (status, held) = block_on(async {
            let service = layer.layer(sink(Discard::default()));
            let (answer, held) = measured(service.oneshot(counted)).await;
            (answer.unwrap().status(), held)
        });
        assert!(status.is_client_error(), "{name}: {status}");
        let read = read.load(Ordering::Relaxed);
        assert!(read <= 512 << 10, "{name}: {read} bytes were read");
        assert_held(name, held, BOUND + 2 * MAX_METADATA);
    }
    let probe = "/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt";
    let mut request = Request::put(probe).body(endless(b"x", "")).unwrap();
    request.extensions_mut().insert(BlobKey::from_path(probe).unwrap());
    let (status, _, held) = through(&AnswerProbe::new(async || Ok(())), request);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_held("a probe", held, BOUND);
}

/// A body that counts the bytes that are read.
struct Counted(Generated, Arc<AtomicU64>);

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.1
                .fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        }
        frame
    }
}
