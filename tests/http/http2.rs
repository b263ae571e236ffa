//! Uploads over HTTP/2, frame by frame. A body is stored only if its end has arrived.
//!
//! hyper ends the body of a stream that is reset with `NO_ERROR` as if it were complete, and proxies send such resets when
//! their own client disconnects.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt as _;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use kazoo_storage::{
    Body, DecodeBase64, ExtractKey, KazooStorage, LimitBody, PathKey, ServeBlobs, SplitMultipart, error::BoxError,
};
use kazoo_storage_test_support::{
    client::PATIENCE,
    stores::{Kind, Spy},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower::{Layer as _, Service, ServiceBuilder};

const OLD: &[u8] = b"the older file";
/// In two DATA frames.
const NEW: [&[u8]; 2] = [b"new ", b"content"];
const TARGET: &str = "/ACC/DOC/a.mp3";

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&len[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// A header block without indexed fields, in which every length fits in a byte.
fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let header = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    headers.iter().flat_map(header).collect()
}

fn data(flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(0, flags, 1, payload)
}

fn reset(reason: u32) -> Vec<u8> {
    frame(3, 0, 1, &reason.to_be_bytes())
}

fn go_away() -> Vec<u8> {
    frame(7, 0, 0, &[0; 8])
}

/// The head of an upload.
fn upload(headers: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", "PUT"),
        (":scheme", "http"),
        (":path", TARGET),
        (":authority", "h"),
    ];
    frame(1, END_HEADERS, 1, &block(&[&pseudo, headers].concat()))
}

fn trailers() -> Vec<u8> {
    frame(1, END_HEADERS | END_STREAM, 1, &block(&[("x-checksum", "7")]))
}

/// Number of requests started and ended, and the statuses of those that ended.
#[derive(Clone, Debug, Default)]
struct Progress {
    begun: usize,
    over: usize,
    statuses: Vec<StatusCode>,
}

/// A service that counts its requests.
#[derive(Clone)]
struct Counted<S> {
    inner: S,
    progress: watch::Sender<Progress>,
}

/// Records the end of a request, even if its future is dropped.
struct Over(watch::Sender<Progress>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.over += 1);
    }
}

impl<S, B> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.progress.send_modify(|progress| progress.begun += 1);
        let over = Over(self.progress.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            over.0.send_modify(|progress| progress.statuses.push(answer.status()));
            Ok(answer)
        })
    }
}

/// A server that stops when it is dropped.
struct Site {
    address: SocketAddr,
    progress: watch::Receiver<Progress>,
    task: AbortHandle,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    Axum,
    Hyper,
}

const FRONTS: [Front; 2] = [Front::Axum, Front::Hyper];

impl Site {
    async fn start<S>(front: Front, service: S) -> Self
    where
        S: Service<Request<axum::body::Body>, Response = Response<Body>, Error = Infallible>,
        S: Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        <S as Service<Request<axum::body::Body>>>::Future: Send + 'static,
        <S as Service<Request<hyper::body::Incoming>>>::Future: Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, progress) = watch::channel(Progress::default());
        let service = Counted {
            inner: service,
            progress: sender,
        };
        let task = match front {
            Front::Axum => {
                let router = Router::new().fallback_service(service);
                tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
            }
            Front::Hyper => tokio::spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
                    connections.spawn(async move { drop(connection.await) });
                }
            }),
        };
        Self {
            address,
            progress,
            task: task.abort_handle(),
        }
    }

    /// Sends `frames` on a new connection, in one write or in one write each. Waits until every request
    /// has ended, and returns the statuses of those that were answered.
    async fn exchange(&mut self, frames: &[Vec<u8>], at_once: bool, answered: bool) -> Vec<StatusCode> {
        let before = self.progress.borrow_and_update().clone();
        let mut connection = Connection::open(self.address).await;
        if at_once {
            connection.stream.write_all(&frames.concat()).await.unwrap();
        } else {
            for frame in frames {
                // A server that has received GOAWAY may stop reading.
                let _ = connection.stream.write_all(frame).await;
                connection.ping().await;
            }
        }
        if answered {
            connection.answer().await;
        }
        connection.close().await;
        let over = self.progress.wait_for(|progress| progress.over == progress.begun);
        let after = timeout(PATIENCE, over).await.expect("every request ends").unwrap();
        after.statuses[before.statuses.len()..].to_vec()
    }
}

struct Connection {
    stream: TcpStream,
}

impl Connection {
    async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
        stream.write_all(&preface).await.unwrap();
        Self { stream }
    }

    /// The type, flags and stream of the next frame, or `None` at the end.
    async fn receive(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes(head[5..].try_into().unwrap())))
    }

    /// Waits until the server has read everything sent so far, or has closed the connection.
    async fn ping(&mut self) {
        let _ = self.stream.write_all(&frame(6, 0, 0, &[7; 8])).await;
        let pong = async { while !matches!(self.receive().await, Some((6, 1, _)) | None) {} };
        timeout(PATIENCE, pong).await.expect("the server answers a ping");
    }

    /// Waits for the head of the response.
    async fn answer(&mut self) {
        let head = async { while !matches!(self.receive().await, Some((1, _, 1)) | None) {} };
        timeout(PATIENCE, head).await.expect("the server answers");
    }

    /// Ends the connection, and waits until the server has closed it.
    async fn close(mut self) {
        let _ = self.stream.shutdown().await;
        let end = async { while self.receive().await.is_some() {} };
        timeout(PATIENCE, end).await.expect("the server closes the connection");
    }
}

/// Uploads that never end, each with its description.
fn unfinished() -> Vec<(String, Vec<Vec<u8>>)> {
    let mut uploads = Vec::new();
    let ends = [
        ("RST_STREAM(NO_ERROR)", Some(reset(NO_ERROR))),
        ("RST_STREAM(CANCEL)", Some(reset(CANCEL))),
        ("RST_STREAM(INTERNAL_ERROR)", Some(reset(INTERNAL_ERROR))),
        ("GOAWAY", Some(go_away())),
        ("the end of the connection", None),
    ];
    let len = NEW.concat().len().to_string();
    let longer = (NEW.concat().len() + 1).to_string();
    for (end, frames) in ends {
        for (declared, headers) in [
            ("no length", &[][..]),
            ("its length", &[("content-length", &*len)]),
            ("a longer length", &[("content-length", &*longer)]),
        ] {
            for count in 0..=NEW.len() {
                // The declared length has arrived completely.
                if declared == "its length" && count == NEW.len() {
                    continue;
                }
                let chunks = NEW[..count].iter().map(|chunk| data(0, chunk));
                let upload = [upload(headers)].into_iter().chain(chunks).chain(frames.clone());
                uploads.push((format!("{end} behind {count} chunks, {declared}"), upload.collect()));
            }
        }
    }
    uploads
}

/// Uploads that are complete.
fn finished() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let len = NEW.concat().len().to_string();
    let [front, back] = NEW;
    let declared = upload(&[("content-length", &*len)]);
    vec![
        (
            "END_STREAM with the last chunk",
            vec![upload(&[]), data(0, front), data(END_STREAM, back)],
        ),
        (
            "END_STREAM behind the last chunk",
            vec![upload(&[]), data(0, front), data(0, back), data(END_STREAM, b"")],
        ),
        ("trailers", vec![upload(&[]), data(0, front), data(0, back), trailers()]),
        (
            "a declared length",
            vec![declared.clone(), data(0, front), data(END_STREAM, back)],
        ),
        (
            "a declared length and trailers",
            vec![declared, data(0, front), data(0, back), trailers()],
        ),
    ]
}

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
async fn a_reset_upload_keeps_the_older_file_in_memory() {
    keeps_the_older_file(Kind::Memory, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_upload_keeps_the_older_file_on_disk() {
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

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Service<Request<B>> for Collect {
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
                Err(error) => error.into_response(),
            })
        })
    }
}

/// A handler behind a single layer receives an error too.
#[tokio::test]
async fn a_reset_upload_is_an_error_behind_each_layer_that_reads_bodies() {
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
