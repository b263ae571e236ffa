//! Memory per request, measured by counting every allocation: at most [`BOUND`], whatever the peer sends and however
//! fast.
//!
//! A debug build transfers less data than a release build. The bound does not depend on it.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod client;
mod metadata;
mod sink;

use std::{
    convert::Infallible,
    future::Future,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use kazoo_storage::{
    AnswerProbe, Base64, BlobInfo, BlobKey, BlobStore, Body, ByteRange, DecodeBase64, DrainBody, Error, ErrorKind,
    Event, ExtractKey, Fetched, KazooStorage, LimitBody, Metadata, Observe, PathKey, RejectStalledBody, SplitMultipart,
    Stored, Upload, VerifyDigest, metadata::MediaPart,
};
use peak_alloc::PeakAlloc;
use tower::{Layer, Service, ServiceExt as _, service_fn, util::BoxCloneSyncService};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Maximum memory for one request without its metadata, in bytes: the current chunk, its result, and the service
/// itself.
const BOUND: usize = 256 << 10;

/// Size of a chunk from the peer, in bytes: hyper's buffer.
const CHUNK: usize = 64 << 10;

const MIB: u64 = 1 << 20;

/// As long as the test may take.
const LONG: u64 = if cfg!(debug_assertions) { 24 * MIB } else { 1024 * MIB };

/// A length that no layer may read to the end.
const ENDLESS: u64 = 256 * MIB;

/// A generated body: `head`, then `repeated` up to `len` bytes, then `tail`.
///
/// Every chunk is a separate allocation, so a chunk that is kept counts.
#[derive(Clone, Debug)]
struct Generated {
    head: Bytes,
    repeated: Arc<[u8]>,
    len: u64,
    tail: Bytes,
    /// Yields between two chunks. Otherwise it is always ready.
    pauses: bool,
    paused: bool,
    /// Sends the head in chunks instead of at once.
    split: bool,
}

impl Generated {
    /// `len` bytes of `pattern`, in chunks.
    fn new(pattern: &[u8], len: u64) -> Self {
        Self::in_chunks(CHUNK, pattern, len)
    }

    fn in_chunks(chunk: usize, pattern: &[u8], len: u64) -> Self {
        Self {
            head: Bytes::new(),
            repeated: pattern.iter().copied().cycle().take(chunk).collect(),
            len,
            tail: Bytes::new(),
            pauses: false,
            paused: false,
            split: false,
        }
    }

    fn between(mut self, head: impl Into<Bytes>, tail: impl Into<Bytes>) -> Self {
        self.head = head.into();
        self.tail = tail.into();
        self
    }

    fn pausing(mut self) -> Self {
        self.pauses = true;
        self
    }

    fn total(&self) -> u64 {
        self.head.len() as u64 + self.len + self.tail.len() as u64
    }
}

impl HttpBody for Generated {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        this.paused = this.pauses && !this.paused;
        if this.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = if !this.head.is_empty() {
            let len = if this.split { CHUNK } else { usize::MAX };
            Bytes::copy_from_slice(&this.head.split_to(len.min(this.head.len())))
        } else if this.len > 0 {
            let len = this.repeated.len().min(usize::try_from(this.len).unwrap_or(usize::MAX));
            this.len -= len as u64;
            Bytes::copy_from_slice(&this.repeated[..len])
        } else if !this.tail.is_empty() {
            std::mem::take(&mut this.tail)
        } else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

/// Counts bytes and discards them.
#[derive(Clone, Debug, Default)]
struct Discard {
    bytes: Arc<AtomicU64>,
    uploads: Arc<AtomicUsize>,
    /// Maximum number of concurrent uploads.
    most: Arc<AtomicUsize>,
}

impl Discard {
    async fn drain(&self, mut body: Body) -> Result<(), Error> {
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl BlobStore for Discard {
    async fn put(&self, upload: Upload) -> Result<Stored, Error> {
        let now = self.uploads.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let drained = self.drain(upload.body).await;
        self.uploads.fetch_sub(1, Ordering::Relaxed);
        drained.map(|()| Stored::Created)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<Fetched, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }

    async fn head(&self, _: &BlobKey) -> Result<BlobInfo, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }
}

/// One measurement at a time, because the allocator counts for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Returns the result of `work`, and its peak memory above that at its start.
async fn measured<F: Future>(work: F) -> (F::Output, usize) {
    let work = pin!(work);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let output = work.await;
    (output, ALLOCATOR.peak_usage().saturating_sub(before))
}

#[track_caller]
fn assert_held(what: &str, held: usize, bound: usize) {
    println!("{what}: {} KiB held", held >> 10);
    assert!(held <= bound, "{what}: {held} bytes were held, and {bound} may be");
}

const BOUNDARY: &str = "-Bq_-Zk29rt-";

/// A PUT of a multipart body with `len` bytes of `pattern` as media.
fn multipart(target: &str, pattern: &[u8], len: u64) -> Request<Generated> {
    let head = format!(
        "\r\n--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{{\"id\":\"DOC\"}}\r\n--{BOUNDARY}\r\n\
         content-disposition: form-data; name=m.wav\r\ncontent-type: audio/x-wav\r\n\r\n"
    );
    let body = Generated::new(pattern, len).between(head, format!("\r\n--{BOUNDARY}--"));
    multipart_of(target, body)
}

fn multipart_of(target: &str, body: Generated) -> Request<Generated> {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Request::put(target)
        .header("content-type", content_type)
        .body(body)
        .unwrap()
}

fn raw(target: &str, len: u64) -> Request<Generated> {
    let request = Request::put(target)
        .header("content-type", "audio/x-wav")
        .header("content-length", len);
    request.body(Generated::new(b"\r\n--RIFF\x00\xff", len)).unwrap()
}

/// The base64 of the start of an MP3 file, repeated.
const BASE64: &[u8] = b"SUQzBAAA";

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
                Err(error) => error.into_response(),
            })
        }
    }))
}

#[test]
fn every_layer_is_bounded() {
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

/// The uploads for the whole stack, with the length of their media.
fn uploads(len: u64) -> [(&'static str, Request<Generated>, u64); 3] {
    [
        ("raw", raw("/ACC/DOC/raw.wav", len), len),
        (
            "multipart",
            multipart("/ACC/DOC/multipart.wav", b"RIFF\x00\xff\r\n", len),
            len,
        ),
        ("base64", multipart("/ACC/DOC/base64.wav", BASE64, len), len / 4 * 3),
    ]
}

#[test]
fn the_stack_is_bounded() {
    let _alone = alone();
    for (name, request, media) in uploads(LONG) {
        let discard = Discard::default();
        let service = KazooStorage::new(discard.clone())
            .max_body(u64::MAX)
            .observe(|_: &Event<'_>| ())
            .into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(discard.bytes(), media, "{name}");
        assert_held(&format!("the stack, {name}"), held, BOUND);
    }
}

#[test]
fn streams_files() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    for (name, request, media) in uploads(LONG) {
        // Without syncs, which need no memory.
        let store = kazoo_storage::store::FsStore::options()
            .durable(false)
            .open(directory.path())
            .unwrap();
        let key = BlobKey::from_path(request.uri().path()).unwrap();
        let service = KazooStorage::new(store.clone()).max_body(u64::MAX).into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(block_on(BlobStore::head(&store, &key)).unwrap().len, media, "{name}");
        assert_held(&format!("files, {name}"), held, BOUND);
    }
}

/// One part in transfer and one being received, however the body is split, and no more than its length for a
/// short body.
#[test]
fn stores_objects_in_parts() {
    let _alone = alone();
    let parts = 2 * kazoo_storage::ObjectStoreBlobs::DEFAULT_PART_SIZE;
    let byte_by_byte = Generated::in_chunks(1, b"x", 12 * MIB);
    let byte_by_byte = Request::put("/ACC/DOC/bytes.wav").body(byte_by_byte).unwrap();
    for (name, request, media, bound) in uploads(LONG)
        .into_iter()
        .map(|(name, request, media)| (name, request, media, parts + BOUND))
        .chain([
            ("byte by byte", byte_by_byte, 12 * MIB, parts + BOUND),
            ("short", raw("/ACC/DOC/short.wav", 100_000), 100_000, 200_000 + BOUND),
        ])
    {
        let engine = sink::Sink::default();
        let store = kazoo_storage::ObjectStoreBlobs::new(engine.clone());
        let service = KazooStorage::new(store).max_body(u64::MAX).into_service();
        let (answer, held) = block_on(async { measured(service.oneshot(request)).await });
        assert_eq!(answer.unwrap().status(), StatusCode::CREATED, "{name}");
        assert_eq!(engine.bytes(), media, "{name}");
        assert_held(&format!("objects, {name}"), held, bound);
        assert!(media < LONG / 2 || held > parts / 2, "{name}: parts are held: {held}");
    }
}

#[test]
fn memory_is_linear_in_the_number_of_uploads() {
    const UPLOADS: usize = 64;
    let _alone = alone();
    let len = if cfg!(debug_assertions) { MIB } else { 64 * MIB };
    let discard = Discard::default();
    let storage = KazooStorage::new(discard.clone()).into_service();
    let requests: Vec<_> = (0..UPLOADS).map(|number| uploads(len)[number % 3].1.clone()).collect();
    let (statuses, held) = block_on(measured(async {
        let mut tasks = tokio::task::JoinSet::new();
        for request in requests {
            tasks.spawn(storage.clone().oneshot(request.map(Generated::pausing)));
        }
        tasks.join_all().await
    }));
    assert_eq!(statuses.len(), UPLOADS);
    assert!(
        statuses
            .into_iter()
            .all(|answer| answer.unwrap().status() == StatusCode::CREATED)
    );
    let most = discard.most.load(Ordering::Relaxed);
    assert_eq!(most, UPLOADS, "they were not all there at the same time");
    assert_held("64 uploads at once", held, UPLOADS * BOUND);
}

#[test]
fn an_upload_over_a_socket_needs_only_its_buffers() {
    /// hyper's own buffer, which grows to its maximum.
    const CONNECTION: usize = 64 << 10;
    let _alone = alone();
    for (name, request, media) in uploads(LONG) {
        let discard = Discard::default();
        let storage = KazooStorage::new(discard.clone()).max_body(u64::MAX).into_service();
        let held = block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (parts, body) = request.into_parts();
            // The client allocates everything before the measurement.
            let start = format!(
                "PUT {} HTTP/1.1\r\nhost: h\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                parts.uri,
                parts.headers["content-type"].to_str().unwrap(),
                body.total(),
            );
            let client = std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(start.as_bytes()).unwrap();
                stream.write_all(&body.head).unwrap();
                let mut left = body.len;
                while left > 0 {
                    let len = body.repeated.len().min(usize::try_from(left).unwrap());
                    stream.write_all(&body.repeated[..len]).unwrap();
                    left -= len as u64;
                }
                stream.write_all(&body.tail).unwrap();
                let mut status = [0; 12];
                stream.read_exact(&mut status).unwrap();
                status
            });
            let (stream, _) = listener.accept().await.unwrap();
            let service = hyper::service::service_fn(|request| storage.clone().oneshot(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .max_buf_size(CHUNK)
                .serve_connection(TokioIo::new(stream), service);
            let (closed, held) = measured(connection).await;
            closed.unwrap();
            assert_eq!(&client.join().unwrap(), b"HTTP/1.1 201");
            held
        });
        assert_eq!(discard.bytes(), media, "{name}");
        assert_held(&format!("over a socket, {name}"), held, BOUND + CONNECTION);
    }
}
