//! Compares the whole service, with a store that discards, with reading the same bytes: in memory, and over loopback.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{convert::Infallible, net::SocketAddr};

use base64::{Engine, engine::general_purpose::PAD};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kazoo_storage::{
    BlobKey, BlobStore, ByteRange, Error, ErrorKind, GetResult, KazooStorage, Metadata, PutResult, Result, Upload,
};

use kazoo_storage_benches::{
    chunks::{Chunks, length, now},
    kazoo::{BOUNDARY, media, multipart},
    ratio::ratio,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tower::ServiceExt as _;

/// Length of the media, in bytes: a recording of half a minute, or a message of a minute.
const MEDIA: usize = 256 << 10;

/// Number of bytes that hyper reads at once on a fast connection.
const CHUNK: usize = 64 << 10;

const TARGET: &str = "/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7/202401-5d0b7b6c9f3e4a1d8c2b7a6e5f4d3c2b/message.mp3";

/// A form in which KAZOO sends a file.
struct Form {
    name: &'static str,
    content_type: String,
    body: Bytes,
}

fn forms() -> [Form; 3] {
    let media = media(MEDIA);
    let of_multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    [
        Form {
            name: "raw",
            content_type: "audio/mpeg".to_owned(),
            body: media.clone(),
        },
        Form {
            name: "multipart",
            content_type: of_multipart.clone(),
            body: multipart(&media),
        },
        Form {
            name: "multipart+base64",
            content_type: of_multipart,
            body: multipart(engine().encode(&media).as_bytes()),
        },
    ]
}

/// A store that accepts files of [`MEDIA`] bytes and discards them.
struct Discard;

impl BlobStore for Discard {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        match length(upload.body).await {
            MEDIA => Ok(PutResult::Created),
            other => Err(Error::new(ErrorKind::Internal, format!("{other} bytes of media"))),
        }
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }
}

/// Calls the service with bodies in memory.
fn in_memory(criterion: &mut Criterion) {
    let service = KazooStorage::new(Discard).into_service();
    let ours = |form: &Form| {
        let request = Request::put(TARGET)
            .header("content-type", &form.content_type)
            .header("content-length", form.body.len())
            .body(Chunks::new(&form.body, CHUNK))
            .unwrap();
        let response = now(service.clone().oneshot(request)).unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    };
    let floor = |form: &Form| {
        let collected = now(Chunks::new(&form.body, CHUNK).collect()).unwrap().to_bytes();
        assert_eq!(collected.len(), form.body.len());
    };

    let mut group = criterion.benchmark_group("stack");
    for form in &forms() {
        group.throughput(Throughput::Bytes(form.body.len() as u64));
        group.bench_function(form.name, |bencher| bencher.iter(|| ours(form)));
    }
    group.finish();
    for form in &forms() {
        let name = format!("stack/{}", form.name);
        ratio(&name, "collecting the body", None, || ours(form), || floor(form));
    }
    measured();
}

/// Compares the service with metrics and a recorder with the service without metrics.
fn measured() {
    use kazoo_storage::{Event, builder::StorageService, metrics, observe::Metrics, store::MeasuredStore};
    use metrics_exporter_prometheus::PrometheusBuilder;

    let builder = PrometheusBuilder::new().set_buckets(&[0.001, 0.01, 0.1, 1.0]);
    let handle = builder.unwrap().install_recorder().unwrap();
    metrics::describe();
    let measured = KazooStorage::new(MeasuredStore::new(Discard))
        .observe(Metrics::new())
        .into_service();
    let observed = KazooStorage::new(Discard).observe(|_: &Event<'_>| ()).into_service();
    let upload = |service: &StorageService, body: &Bytes| {
        let request = Request::put(TARGET)
            .header("content-type", "audio/mpeg")
            .header("content-length", body.len())
            .body(Chunks::new(body, CHUNK))
            .unwrap();
        let response = now(service.clone().oneshot(request)).unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    };
    let body = media(MEDIA);
    ratio(
        "stack/measured",
        "without metrics",
        None,
        || upload(&measured, &body),
        || upload(&observed, &body),
    );
    handle.run_upkeep();
}

/// Compares the service on hyper with hyper alone, for one client with a keep-alive connection.
///
/// Everything runs on one thread, so that the scheduler does not affect the result.
fn over_sockets(criterion: &mut Criterion) {
    let runtime = &tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let service = TowerToHyperService::new(KazooStorage::new(Discard).into_service());
    let ours = serve(runtime, move || service.clone());
    let measured = {
        let storage = KazooStorage::new(kazoo_storage::store::MeasuredStore::new(Discard));
        let service = TowerToHyperService::new(storage.observe(kazoo_storage::observe::Metrics::new()).into_service());
        serve(runtime, move || service.clone())
    };
    let bare = serve(runtime, || {
        service_fn(async |request: Request<Incoming>| {
            length(request.into_body()).await;
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::CREATED;
            Ok::<_, Infallible>(response)
        })
    });

    // The minimal implementation: collects, searches and decodes the same body, without any checks.
    let by_hand = serve(runtime, || {
        service_fn(async |request: Request<Incoming>| {
            let multipart = request.headers()["content-type"] != "audio/mpeg";
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if multipart {
                let delimiter = format!("\r\n--{BOUNDARY}");
                let found: Vec<usize> = memchr::memmem::find_iter(&body, &delimiter).collect();
                let part = &body[found[1]..found[2]];
                let media = &part[memchr::memmem::find(part, b"\r\n\r\n").unwrap() + 4..];
                let decoded = (media.len() > MEDIA).then(|| engine().decode(media).unwrap());
                assert_eq!(decoded.map_or(media.len(), |decoded| decoded.len()), MEDIA);
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = StatusCode::CREATED;
            Ok::<_, Infallible>(response)
        })
    });

    let mut group = criterion.benchmark_group("loopback");
    for form in &forms() {
        group.throughput(Throughput::Bytes(form.body.len() as u64));
        for (server, address) in [("", ours), (", bare hyper", bare), (", by hand", by_hand)] {
            let mut client = Client::connect(runtime, address, form);
            let name = format!("{}{server}", form.name);
            group.bench_function(name, |bencher| bencher.iter(|| client.upload()));
        }
    }
    group.finish();
    for form in &forms() {
        let (mut ours, mut bare) = (
            Client::connect(runtime, ours, form),
            Client::connect(runtime, bare, form),
        );
        let name = format!("loopback/{}", form.name);
        let goal = Some(0.80);
        ratio(&name, "bare hyper", goal, || ours.upload(), || bare.upload());
        {
            let name = format!("{name}, measured");
            let mut measured = Client::connect(runtime, measured, form);
            let goal = Some(0.95);
            ratio(&name, "without metrics", goal, || measured.upload(), || ours.upload());
        }
        let mut by_hand = Client::connect(runtime, by_hand, form);
        ratio(&name, "hyper, by hand", None, || ours.upload(), || by_hand.upload());
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn engine() -> impl Engine {
    base64::engine::Simd::standard(PAD)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn engine() -> impl Engine {
    base64::engine::GeneralPurpose::new(&base64::alphabet::STANDARD, PAD)
}

/// Serves each connection with a service from `make`, until the runtime ends.
fn serve<S, B>(runtime: &Runtime, make: impl Fn() -> S + Send + 'static) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<kazoo_storage::error::BoxError>> + Send + 'static,
{
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), make()));
        }
    });
    address
}

/// A client that repeats one upload, and writes its head and body at once as KAZOO does.
struct Client<'r> {
    runtime: &'r Runtime,
    stream: TcpStream,
    request: Vec<u8>,
}

impl<'r> Client<'r> {
    fn connect(runtime: &'r Runtime, address: SocketAddr, form: &Form) -> Self {
        let stream = runtime.block_on(TcpStream::connect(address)).unwrap();
        stream.set_nodelay(true).unwrap();
        let head = format!(
            "PUT {TARGET} HTTP/1.1\r\ncontent-type: {}\r\ncontent-length: {}\r\nte: \r\nhost: {address}\r\n\
             connection: keep-alive\r\n\r\n",
            form.content_type,
            form.body.len()
        );
        let request = [head.as_bytes(), &form.body].concat();
        Self {
            runtime,
            stream,
            request,
        }
    }

    fn upload(&mut self) {
        self.runtime.block_on(async {
            self.stream.write_all(&self.request).await.unwrap();
            let mut answer = [0; 1024];
            let mut length = 0;
            while !answer[..length].ends_with(b"\r\n\r\n") {
                let read = self.stream.read(&mut answer[length..]).await.unwrap();
                assert!(read > 0, "the connection stays open");
                length += read;
            }
            assert!(answer.starts_with(b"HTTP/1.1 201 "));
        });
    }
}

criterion_group!(benches, in_memory, over_sockets);
criterion_main!(benches);
