//! The claims of the page about tower-http: layers of tower and tower-http around the services of this crate.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::stream;
use http::{HeaderName, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Bytes;
use kazoo_storage::{
    AccessRules, Body, DrainBody, Error, ErrorKind, Event, ExtractKey, Grant, KazooStorage, LimitBody, MemoryStore,
    Observe, Outcome, PathKey, RetryAfter, ServeBlobs, SplitMultipart, authorize::Credential,
};
use kazoo_storage_test_support::stores::Spy;
use tower::{Service, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimitLayer, load_shed::LoadShedLayer};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::CompressionLayer,
    cors::{Any, CorsLayer},
    decompression::RequestDecompressionLayer,
    limit::RequestBodyLimitLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
    timeout::TimeoutLayer,
    trace::TraceLayer,
};
use tracing::{Span, field};

const KEY: &str = "/ACC/DOC/ATT.mp3";

/// The head of a response, and its body as text.
type Answer = (http::response::Parts, String);

async fn send<S, ReqBody, ResBody>(service: S, request: Request<ReqBody>) -> Answer
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>, Error: std::fmt::Debug>,
    ResBody: HttpBody<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = service.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, String::from_utf8_lossy(&body).into_owned())
}

fn put(body: impl Into<Bytes>) -> Request<Body> {
    Request::put(KEY).body(Body::from(body.into())).unwrap()
}

fn get() -> Request<Body> {
    Request::get(KEY).body(Body::empty()).unwrap()
}

/// A body whose length is not known.
fn stream_of(text: &'static str) -> Body {
    Body::new(StreamBody::new(stream::iter([Ok::<_, io::Error>(Frame::data(
        text.into(),
    ))])))
}

fn assert_refused((head, body): &Answer, kind: ErrorKind) {
    assert_eq!(head.status, kind.status(), "{body}");
    assert_eq!(head.headers[header::CONTENT_TYPE], "application/json");
    assert!(body.starts_with(&format!("{{\"error\":\"{kind}\"")), "{body}");
}

/// Closures beside the layers name at most the type `Request<_>` or `Response<_>`.
#[tokio::test]
async fn closures_beside_the_layers_need_no_body_type() {
    let service = ServiceBuilder::new()
        .map_request(|mut request: Request<_>| {
            request.headers_mut().remove("x-first");
            request
        })
        .map_response(|mut response: Response<_>| {
            response.headers_mut().insert("x-second", 2.into());
            response
        })
        .layer(Observe::new(|_: &Event<'_>| ()))
        .map_response(|response| response)
        .layer(RetryAfter::default())
        .map_request(|request| request)
        .layer(DrainBody::new())
        .map_result(|result: Result<Response<_>, Infallible>| result)
        .layer(LimitBody::new(100))
        .map_response(|mut response: Response<_>| {
            response.headers_mut().insert("x-third", 3.into());
            response
        })
        .layer(ExtractKey::new(PathKey))
        .layer(SplitMultipart::new())
        .map_request(|request: Request<_>| request)
        .service(ServeBlobs::new(MemoryStore::new()));
    let request = put("ID3").map(axum::body::Body::new);
    let (head, _) = send(service.clone(), request).await;
    assert_eq!(head.status, StatusCode::CREATED);
    assert_eq!(
        (&head.headers["x-second"], &head.headers["x-third"]),
        (&"2".parse().unwrap(), &"3".parse().unwrap())
    );

    // The same service, and the complete one, in a router.
    let storage = ServiceBuilder::new()
        .map_response(|response: Response<_>| response)
        .service(KazooStorage::new(MemoryStore::new()).into_service());
    let app = axum::Router::new()
        .nest_service("/layers", service)
        .nest_service("/storage", storage)
        .layer(
            ServiceBuilder::new()
                .map_response(|response: Response<_>| response)
                .layer(LimitBody::new(50)),
        );
    for prefix in ["/layers", "/storage"] {
        let request = Request::put(format!("{prefix}{KEY}"))
            .body(axum::body::Body::from("ID3"))
            .unwrap();
        assert_eq!(send(app.clone(), request).await.0.status, StatusCode::CREATED);
    }
}

/// Collects the log of the current thread.
fn collect_log() -> (Arc<Mutex<Vec<u8>>>, tracing::subscriber::DefaultGuard) {
    #[derive(Clone)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = Log(Arc::clone(&log));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    (log, tracing::subscriber::set_default(subscriber))
}

#[tokio::test]
async fn trace_logs_tokens_and_queries_unless_the_span_omits_the_uri() {
    let rules = AccessRules::new().credential(Credential::token("fI6n-3Qc"));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules).into_service();
    let upload = || {
        Request::put(format!("/fI6n-3Qc{KEY}?from=Anna"))
            .body(Body::from("ID3"))
            .unwrap()
    };
    let logged = async |service| {
        let (log, _guard) = collect_log();
        assert_eq!(
            send::<tower::util::BoxCloneService<_, Response<_>, _>, _, _>(service, upload())
                .await
                .0
                .status,
            201
        );
        String::from_utf8(std::mem::take(&mut *log.lock().unwrap())).unwrap()
    };

    let default = ServiceBuilder::new().boxed_clone().layer(TraceLayer::new_for_http());
    let log = logged(default.service(storage.clone())).await;
    assert!(log.contains("fI6n-3Qc") && log.contains("Anna"), "{log}");

    let trace = TraceLayer::new_for_http()
        .make_span_with(
            |request: &Request<_>| tracing::debug_span!("request", method = %request.method(), key = field::Empty),
        )
        .on_response(|response: &Response<_>, latency: Duration, span: &Span| {
            if let Some(key) = response.extensions().get().and_then(Outcome::key) {
                span.record("key", field::display(key));
            }
            tracing::debug!(status = response.status().as_u16(), ?latency, "finished");
        });
    let log = logged(ServiceBuilder::new().boxed_clone().layer(trace).service(storage)).await;
    assert!(!log.contains("fI6n-3Qc") && !log.contains("Anna"), "{log}");
    assert!(
        log.contains("method=PUT key=ACC/DOC/ATT.mp3") && log.contains("status=201"),
        "{log}"
    );
}

#[tokio::test(start_paused = true)]
async fn timeout_cuts_an_upload_off_without_an_explanation() {
    // A byte each 10 seconds.
    let slow = || {
        let bytes = stream::unfold(0, |sent| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            (sent < 1000).then(|| (Ok::<_, io::Error>(Frame::data(Bytes::from("x"))), sent + 1))
        });
        Request::put(KEY).body(Body::new(StreamBody::new(bytes))).unwrap()
    };
    let store = Spy::memory();
    let timeout = TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(30));
    let storage = KazooStorage::new(store.clone());
    let service = ServiceBuilder::new().layer(timeout).service(storage.into_service());
    let (head, body) = send(service, slow()).await;
    assert_eq!((head.status, &*body), (StatusCode::REQUEST_TIMEOUT, ""));

    let storage = KazooStorage::new(store.clone()).stall_timeout(Duration::from_secs(30));
    assert_refused(&send(storage.into_service(), slow()).await, ErrorKind::Timeout);
    assert_eq!(store.stored(), []);
}

#[tokio::test]
async fn catch_panic_can_answer_in_the_format_of_the_service() {
    let storage = KazooStorage::new(MemoryStore::new())
        .authorize(|_: &mut Parts| -> Result<Grant, Error> { panic!("a defect of the application") })
        .into_service();
    let plain = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .service(storage.clone());
    let (head, body) = send(plain, put("ID3")).await;
    assert_eq!((head.status.as_u16(), &*body), (500, "Service panicked"));

    let custom = CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
        Error::new(
            ErrorKind::Internal,
            "a defect in the application; its log has the reason",
        )
        .to_response()
    });
    let service = ServiceBuilder::new().layer(custom).service(storage);
    assert_refused(&send(service, put("ID3")).await, ErrorKind::Internal);
}

#[tokio::test]
async fn request_body_limit_answers_plain_text_if_the_length_is_declared() {
    let storage = KazooStorage::new(MemoryStore::new()).into_service();
    let limit = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(4))
        .service(storage);
    let mut declared = put("fives");
    declared.headers_mut().insert(header::CONTENT_LENGTH, 5.into());
    let (head, body) = send(limit.clone(), declared).await;
    assert_eq!((head.status.as_u16(), &*body), (413, "length limit exceeded"));
    let chunked = Request::put(KEY).body(stream_of("fives")).unwrap();
    assert_refused(&send(limit.clone(), chunked).await, ErrorKind::TooLarge);
    // It forwards the end of a body over HTTP/2.
    let mut http2 = put("four");
    *http2.version_mut() = Version::HTTP_2;
    assert_eq!(send(limit, http2).await.0.status, StatusCode::CREATED);

    let storage = KazooStorage::new(MemoryStore::new()).max_body(4).into_service();
    for length in [None, Some(5)] {
        let mut request = Request::put(KEY).body(stream_of("fives")).unwrap();
        request
            .headers_mut()
            .extend(length.map(|length| (header::CONTENT_LENGTH, u64::into(length))));
        assert_refused(&send(storage.clone(), request).await, ErrorKind::TooLarge);
    }
}

#[tokio::test]
async fn request_id_is_on_every_response() {
    let service = ServiceBuilder::new()
        .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
        .layer(PropagateRequestIdLayer::x_request_id())
        .service(KazooStorage::new(MemoryStore::new()).into_service());
    for (request, status) in [(get(), 404), (put("ID3"), 201)] {
        let (head, _) = send(service.clone(), request).await;
        assert_eq!(head.status, status);
        assert_eq!(head.headers["x-request-id"].len(), 36);
    }
    let mut request = get();
    request
        .headers_mut()
        .insert("x-request-id", "of-the-client".parse().unwrap());
    assert_eq!(send(service, request).await.0.headers["x-request-id"], "of-the-client");
}

#[tokio::test]
async fn sensitive_headers_still_authorize() {
    let rules = AccessRules::new().credential(Credential::password("kazoo", "secret"));
    let service = ServiceBuilder::new()
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
        .service(KazooStorage::new(MemoryStore::new()).authorize(rules).into_service());
    assert_refused(&send(service.clone(), put("ID3")).await, ErrorKind::Unauthorized);
    let mut request = put("ID3");
    let basic = "Basic a2F6b286c2VjcmV0".parse().unwrap();
    request.headers_mut().insert(header::AUTHORIZATION, basic);
    assert_eq!(send(service, request).await.0.status, StatusCode::CREATED);
}

#[tokio::test]
async fn compression_removes_the_length_and_ranges() {
    let storage = KazooStorage::new(MemoryStore::new()).into_service();
    let media = "x".repeat(10_000);
    assert_eq!(
        send(storage.clone(), put(media.clone())).await.0.status,
        StatusCode::CREATED
    );
    let service = ServiceBuilder::new().layer(CompressionLayer::new()).service(storage);
    // KAZOO sends no `accept-encoding`.
    assert_eq!(send(service.clone(), get()).await.1, media);
    let mut browser = get();
    browser
        .headers_mut()
        .insert(header::ACCEPT_ENCODING, "gzip".parse().unwrap());
    let (head, body) = send(service, browser).await;
    assert_eq!(head.headers[header::CONTENT_ENCODING], "gzip");
    let lost = [header::CONTENT_LENGTH, header::ACCEPT_RANGES];
    assert!(!lost.iter().any(|name| head.headers.contains_key(name)), "{head:?}");
    assert!(body.len() < media.len());
}

/// The length of the decompressed body is unknown, and its end over HTTP/2 is not confirmed.
#[tokio::test]
async fn decompression_hides_the_end_of_a_body() {
    const ID3_IN_GZIP: &[u8] =
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xf3\x74\x31\x06\x00\x4a\x84\xcf\xab\x03\x00\x00\x00";

    let service = ServiceBuilder::new()
        .layer(RequestDecompressionLayer::new())
        .service(KazooStorage::new(MemoryStore::new()).into_service());
    for (version, status) in [(Version::HTTP_11, 201), (Version::HTTP_2, 400)] {
        let mut request = put(ID3_IN_GZIP);
        *request.version_mut() = version;
        request
            .headers_mut()
            .insert(header::CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(send(service.clone(), request).await.0.status, status, "{version:?}");
    }
}

#[tokio::test]
async fn cors_answers_preflights_in_front_of_the_service() {
    let rules = AccessRules::new().credential(Credential::token("fI6n-3Qc"));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules).into_service();
    let preflight = || {
        Request::options(format!("/fI6n-3Qc{KEY}"))
            .header(header::ORIGIN, "https://app.example.com")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
            .body(Body::empty())
            .unwrap()
    };
    assert_refused(&send(storage.clone(), preflight()).await, ErrorKind::MethodNotAllowed);
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .expose_headers([header::CONTENT_RANGE]);
    let service = ServiceBuilder::new().layer(cors).service(storage);
    let (head, _) = send(service.clone(), preflight()).await;
    assert_eq!(head.status, StatusCode::OK);
    // The responses of the service have the headers too, also its errors.
    let (head, _) = send(service, get()).await;
    assert_eq!(
        (head.status.as_u16(), &head.headers[header::ACCESS_CONTROL_ALLOW_ORIGIN]),
        (401, &"*".parse().unwrap())
    );
}

/// A request that waits in `poll_ready` gets no response at all, and a shed one no `retry-after`.
#[tokio::test]
async fn limits_of_tower_do_not_ask_kazoo_to_retry() {
    let waiting = || {
        Request::put(KEY)
            .body(Body::new(StreamBody::new(stream::pending::<Result<_, Error>>())))
            .unwrap()
    };
    let storage = KazooStorage::new(MemoryStore::new()).into_service();
    let limited = ServiceBuilder::new()
        .layer(LoadShedLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(storage);
    let busy = tokio::spawn(limited.clone().oneshot(waiting()));
    tokio::task::yield_now().await;
    let error = limited.oneshot(get()).await.unwrap_err();
    assert!(error.is::<tower::load_shed::error::Overloaded>(), "{error}");
    busy.abort();

    let storage = KazooStorage::new(MemoryStore::new()).max_concurrent(1).into_service();
    let busy = tokio::spawn(storage.clone().oneshot(waiting()));
    tokio::task::yield_now().await;
    let shed = send(storage, get()).await;
    assert_refused(&shed, ErrorKind::Unavailable);
    assert!(shed.0.headers.contains_key(HeaderName::from_static("retry-after")));
    busy.abort();
}
