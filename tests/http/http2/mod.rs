//! Uploads over HTTP/2, frame by frame. A body is stored only if its end has arrived.
//!
//! hyper ends the body of a stream that is reset with `NO_ERROR` as if it were complete, and proxies send such resets when
//! their own client disconnects.

mod frames;
mod site;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header, request::Parts, uri::Authority};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobKey, Body, DecodeBase64, Error, ErrorKind, ExtractKey, KazooStorage, LimitBody, PathKey, ServeBlobs,
    SplitMultipart, error::BoxError, extract_key::KeyExtractor as _,
};
use kazoo_storage_test_support::stores::{Kind, Spy};
use tower::{Layer as _, Service, ServiceBuilder};

use self::{
    frames::{END_STREAM, NO_ERROR, data, finished, reset, unfinished, upload},
    site::{FRONTS, Front, Site},
};

const OLD: &[u8] = b"the older file";

/// In two DATA frames.
const NEW: [&[u8]; 2] = [b"new ", b"content"];

const TARGET: &str = "/ACC/DOC/a.mp3";

/// Every service that stores uploads in `store`: alone, and in the whole stack.
async fn sites(front: Front, store: &Spy) -> Vec<(&'static str, Site)> {
    let alone = ExtractKey::new(PathKey).layer(ServeBlobs::new(store.clone()));
    let limited = LimitBody::new(1 << 20).layer(alone.clone());
    vec![
        (
            "the stack",
            Site::start(front, KazooStorage::new(store.clone()).into_service()).await,
        ),
        ("ServeBlobs", Site::start(front, alone).await),
        ("LimitBody", Site::start(front, limited).await),
    ]
}

async fn keeps_the_older_file(kind: Kind, rounds: usize) {
    for front in FRONTS {
        let store = Spy::open(kind);
        for (name, mut site) in sites(front, &store).await {
            let before = [upload(&[]), data(END_STREAM, OLD)];
            assert_eq!(site.exchange(&before, true, true).await, [StatusCode::CREATED]);
            let stored = store.stored().len();
            for (what, frames) in unfinished() {
                for round in 0..rounds {
                    for at_once in [true, false] {
                        let shown = format!("{front:?}, {name}, {what}, at once: {at_once}, round {round}");
                        let answered = site.exchange(&frames, at_once, false).await;
                        assert!(!answered.contains(&StatusCode::CREATED), "{shown}: {answered:?}");
                        assert_eq!(store.content(TARGET).await.as_deref(), Some(OLD), "{shown}");
                    }
                }
            }
            assert_eq!(store.stored().len(), stored, "{front:?}, {name}");
        }
    }
}

#[tokio::test]
async fn keeps_the_older_file_in_memory_after_a_reset() {
    keeps_the_older_file(Kind::Memory, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_older_file_on_disk_after_a_reset() {
    keeps_the_older_file(Kind::Files, 4).await;
}

#[tokio::test]
async fn stores_an_upload_whose_end_has_arrived() {
    for front in FRONTS {
        for (what, frames) in finished() {
            for at_once in [true, false] {
                let store = Spy::memory();
                for (name, mut site) in sites(front, &store).await {
                    let shown = format!("{front:?}, {name}, {what}, at once: {at_once}");
                    let answered = site.exchange(&frames, at_once, true).await;
                    assert_eq!(answered, [StatusCode::CREATED], "{shown}");
                    assert_eq!(store.content(TARGET).await, Some(NEW.concat()), "{shown}");
                }
            }
        }
    }
}

/// Layers rewrite bodies: the result has a different length, or none, and a different end.
#[tokio::test]
async fn stores_a_multipart_upload_without_its_length() {
    let head = upload(&[("content-type", "multipart/form-data; boundary=B")]);
    let body = b"--B\r\ncontent-type: application/json\r\n\r\n{}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\n\
                 SUQzBAAAAAAAAG5ldyBjb250ZW50LCBhbmQgbW9yZQ==\r\n--B--";
    for front in FRONTS {
        for (end, expected) in [(data(END_STREAM, b""), true), (reset(NO_ERROR), false)] {
            let store = Spy::memory();
            let mut site = Site::start(front, KazooStorage::new(store.clone()).into_service()).await;
            let answered = site.exchange(&[head.clone(), data(0, body), end], true, expected).await;
            assert_eq!(
                answered.contains(&StatusCode::CREATED),
                expected,
                "{front:?}: {answered:?}"
            );
            let content = expected.then(|| b"ID3\x04\0\0\0\0\0\0new content, and more".to_vec());
            assert_eq!(store.content(TARGET).await, content, "{front:?}");
        }
    }
}

/// Answers 200 if the body ends cleanly, or with the status of its error.
#[derive(Clone)]
struct Collect;

impl<B> Service<Request<B>> for Collect
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(async move {
            Ok(match Body::new(request.into_body()).collect().await {
                Ok(_) => Response::new(Body::empty()),
                Err(error) => error.to_response(),
            })
        })
    }
}

/// A handler behind a single layer receives an error too.
#[tokio::test]
async fn reports_a_reset_behind_each_layer_that_reads_bodies() {
    async fn statuses<S>(front: Front, service: S) -> [Vec<StatusCode>; 2]
    where
        S: Service<Request<axum::body::Body>, Response = Response<Body>, Error = Infallible>,
        S: Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        <S as Service<Request<axum::body::Body>>>::Future: Send + 'static,
        <S as Service<Request<hyper::body::Incoming>>>::Future: Send + 'static,
    {
        let mut site = Site::start(front, service).await;
        let begun = [upload(&[]), data(0, NEW[0])];
        let whole = [&begun[..], &[data(END_STREAM, NEW[1])]].concat();
        let torn = [&begun[..], &[reset(NO_ERROR)]].concat();
        [
            site.exchange(&whole, true, true).await,
            site.exchange(&torn, true, false).await,
        ]
    }
    const EXPECTED: [&[StatusCode]; 2] = [&[StatusCode::OK], &[StatusCode::BAD_REQUEST]];
    let layers = ServiceBuilder::new();
    for front in FRONTS {
        let split = layers.clone().layer(SplitMultipart::new()).service(Collect);
        assert_eq!(statuses(front, split).await, EXPECTED, "{front:?}, SplitMultipart");
        let decode = layers.clone().layer(DecodeBase64::default()).service(Collect);
        assert_eq!(statuses(front, decode).await, EXPECTED, "{front:?}, DecodeBase64");
        let limit = layers.clone().layer(LimitBody::new(100)).service(Collect);
        assert_eq!(statuses(front, limit).await, EXPECTED, "{front:?}, LimitBody");
    }
}

/// HTTP/2 sends the host in the URI. A prefix is stripped from the path only.
#[tokio::test]
async fn an_extractor_sees_the_host_of_the_request() {
    fn by_host(request: &Parts) -> kazoo_storage::Result<BlobKey> {
        let header = || Authority::try_from(request.headers.get(header::HOST)?.as_bytes()).ok();
        let host = request.uri.authority().cloned().or_else(header);
        let host = host.ok_or_else(|| Error::new(ErrorKind::InvalidRequest, "the request has no host"))?;
        BlobKey::from_segments([host.host()])
    }
    let frames = [upload(&[]), data(END_STREAM, NEW[0])];
    for front in FRONTS {
        let store = Spy::memory();
        let storage = KazooStorage::new(store.clone()).key(PathKey.prefixed(by_host));
        let mut whole = Site::start(front, storage.clone().into_service()).await;
        assert_eq!(
            whole.exchange(&frames, true, true).await,
            [StatusCode::CREATED],
            "{front:?}"
        );
        assert_eq!(
            store.content("/h/ACC/DOC/a.mp3").await.as_deref(),
            Some(NEW[0]),
            "{front:?}"
        );
        let mut mounted = Site::start(front, storage.mount("/ACC").layer(Collect)).await;
        assert_eq!(
            mounted.exchange(&frames, true, true).await,
            [StatusCode::CREATED],
            "{front:?}"
        );
        assert_eq!(
            store.content("/h/DOC/a.mp3").await.as_deref(),
            Some(NEW[0]),
            "{front:?}"
        );
    }
}
