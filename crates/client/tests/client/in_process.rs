//! The client over a service in the same process.

use std::{
    convert::Infallible,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use futures_util::StreamExt as _;
use http::{Method, StatusCode, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{AccessRules, KazooStorage, MemoryStore, authorize::Credential};
use kazoo_storage_client::{
    Attachment, Client, Dialect, Document, FailureKind, Handler,
    testing::{assert_probe_passes, assert_serves_every_release},
};
use tokio::task::yield_now;
use tower::{Layer as _, ServiceExt as _, service_fn};

const URL: &str = "http://storage.example.com/some_prefix";

fn file() -> Attachment {
    Attachment::new(
        "ACC",
        Document::from_json(r#"{"_id":"DOC"}"#).unwrap(),
        "message.mp3",
        "ID3",
    )
}

fn app() -> Router {
    Router::new().nest_service("/some_prefix", KazooStorage::new(MemoryStore::new()).into_service())
}

/// The panic of `assertion`.
async fn panic_of(assertion: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(assertion)
        .await
        .expect_err("the assertion must fail")
        .into_panic();
    *panic.downcast::<String>().unwrap()
}

/// The application behind middleware that breaks it.
fn broken<F, R>(layer: F) -> Router
where
    F: Fn(Request, Next) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response> + Send + 'static,
{
    app().layer(middleware::from_fn(layer))
}

fn answer(status: StatusCode, body: &'static str) -> Response {
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

#[tokio::test]
async fn plays_every_release_against_routers_and_services() {
    assert_serves_every_release(app(), URL).await;
    assert_serves_every_release(KazooStorage::new(MemoryStore::new()).into_service(), "https://h:443").await;
    let rules = AccessRules::new().credential(Credential::password("user", "secret"));
    let storage = KazooStorage::new(MemoryStore::new()).authorize(rules).into_service();
    assert_serves_every_release(storage, "http://user:secret@h:80/").await;
    let rest = Router::new().fallback(async || StatusCode::NOT_FOUND);
    let mounted = KazooStorage::new(MemoryStore::new()).mount("/some_prefix").layer(rest);
    assert_serves_every_release(mounted, URL).await;
}

#[tokio::test]
async fn reports_a_refused_probe() {
    let refusing = broken(async |_, _| answer(StatusCode::FORBIDDEN, "no access"));
    let message = panic_of(async { assert_probe_passes(refusing, &Handler::new(URL).unwrap()).await }).await;
    for part in [
        "KAZOO 4.0 to",
        "403 Forbidden: no access",
        r#""error_code":403"#,
        "saves the settings",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn reports_a_doubled_path_that_is_not_found() {
    let by_plain_path = broken(async |request, next| {
        let doubled =
            request.uri().path().matches("/0c8f1c4a").count() == 2 && !request.uri().path().contains("_test_cred");
        if doubled {
            answer(StatusCode::NOT_FOUND, "")
        } else {
            next.run(request).await
        }
    });
    let message = panic_of(assert_serves_every_release(by_plain_path, URL)).await;
    assert!(
        message.starts_with("KAZOO 4.3.106 and later, verb=PUT send_multipart=false"),
        "{message}"
    );
    assert!(
        message.contains("GET /some_prefix/0c8f1c4a") && message.contains("404"),
        "{message}"
    );
}

/// The long file finds a service that keeps only the start of a body, or refuses long ones.
#[tokio::test]
async fn reports_a_limit_and_a_lost_rest_of_a_body() {
    let limited = KazooStorage::new(MemoryStore::new()).max_body(2 << 20).into_service();
    let message = panic_of(assert_serves_every_release(limited, "http://h:80")).await;
    assert!(
        message.contains("PUT /0c8f1c4a") && message.contains("413"),
        "{message}"
    );
    let first_frame = broken(async |request, next| {
        let (mut head, mut body) = request.into_parts();
        head.headers.remove(header::CONTENT_LENGTH);
        let start = match body.frame().await {
            Some(frame) => frame.unwrap().into_data().unwrap(),
            None => bytes::Bytes::new(),
        };
        while let Some(frame) = body.frame().await {
            drop(frame.unwrap());
        }
        next.run(Request::from_parts(head, Body::from(start))).await
    });
    let message = panic_of(assert_serves_every_release(first_frame, URL)).await;
    assert!(
        message.contains("recording.mp3") && message.contains("instead of 3145728"),
        "{message}"
    );
}

/// Bodies that are refused or a prefix that is missing show the request.
#[tokio::test]
async fn reports_a_refused_request() {
    let raw_only = broken(async |request, next| {
        let content_type = request.headers().get(header::CONTENT_TYPE);
        let multipart = content_type.is_some_and(|value| value.as_bytes().starts_with(b"multipart/form-data"));
        if multipart {
            answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "no multipart")
        } else {
            next.run(request).await
        }
    });
    let message = panic_of(assert_serves_every_release(raw_only, URL)).await;
    assert!(
        message.contains("send_multipart=true") && message.contains("no multipart"),
        "{message}"
    );
    let message = panic_of(assert_serves_every_release(app(), "http://h:80/other_prefix")).await;
    assert!(message.contains("404"), "{message}");
}

#[tokio::test]
async fn reports_other_content() {
    let other = broken(async |request, next| {
        let is_file = request.method() == Method::GET && !request.uri().path().contains("_test_cred");
        if is_file {
            answer(StatusCode::OK, "ID3 other")
        } else {
            next.run(request).await
        }
    });
    let message = panic_of(assert_serves_every_release(other, URL)).await;
    assert!(
        message.contains("9 bytes instead of") && message.contains("the first 3 are equal"),
        "{message}"
    );
}

#[tokio::test]
async fn reports_content_that_was_stored_as_base64() {
    let storage = KazooStorage::new(MemoryStore::new()).base64(kazoo_storage::Base64::Off);
    let message = panic_of(async { assert_serves_every_release(storage.into_service(), URL).await }).await;
    assert!(message.contains("base64_encode_data=true"), "{message}");
}

/// The service receives the request line, the headers and the chunks of a socket.
#[tokio::test]
async fn the_service_receives_what_a_socket_delivers() {
    let service = service_fn(async |request: http::Request<hyper::body::Incoming>| {
        assert_eq!(request.uri(), "/some_prefix/ACC/DOC/message.mp3");
        assert_eq!(request.headers()[header::HOST], "storage.example.com");
        assert_eq!(request.headers()[header::CONTENT_LENGTH], "3");
        Ok::<_, Infallible>(answer(StatusCode::CREATED, ""))
    });
    let stored = Client::over(service)
        .store(&Dialect::KAZOO_4_3_106, &Handler::new(URL).unwrap(), &file())
        .await;
    assert_eq!(stored.unwrap().answer.status(), StatusCode::CREATED);
}

/// A body larger than every buffer does not block a service that answers without reading it.
#[tokio::test]
async fn an_unread_body_does_not_block() {
    let service = service_fn(async |_| Ok::<_, Infallible>(answer(StatusCode::CREATED, "")));
    let large = Attachment::new("ACC", Document::from_json("{}").unwrap(), "large.mp3", vec![7; 1 << 20]);
    let mut client = Client::over(service);
    for _ in 0..2 {
        let stored = client
            .store(&Dialect::KAZOO_4_3_106, &Handler::new(URL).unwrap(), &large)
            .await;
        assert!(stored.is_ok() || stored.is_err_and(|failure| failure.kind() == FailureKind::Broken));
    }
}

#[tokio::test]
async fn reports_a_broken_response_and_a_broken_service() {
    let handler = Handler::new(URL).unwrap();
    let cut = service_fn(async |_| {
        let chunks = [Ok(bytes::Bytes::from("ID")), Err("cut off")];
        // Waiting lets hyper send the head before the body fails.
        let chunks = futures_util::stream::iter(chunks).then(async |chunk| {
            yield_now().await;
            chunk
        });
        let body = Body::from_stream(chunks);
        Ok::<_, Infallible>(
            Response::builder()
                .header(header::CONTENT_LENGTH, 3)
                .body(body)
                .unwrap(),
        )
    });
    let url = handler.url_of(&Dialect::KAZOO_4_3_106, &file());
    let fetched = Client::over(cut)
        .fetch(&Dialect::KAZOO_4_3_106, &handler, &url, &file())
        .await;
    let failure = fetched.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Truncated);
    assert!(causes(&failure).contains("cut off"), "{failure:?}");
    let failing = service_fn(async |_| Err::<Response, _>("the service has failed"));
    let stored = Client::over(failing)
        .store(&Dialect::KAZOO_4_3_106, &handler, &file())
        .await;
    let failure = stored.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Broken);
    assert!(causes(&failure).contains("the service has failed"), "{failure:?}");
}

/// The messages of the causes.
fn causes(failure: &dyn Error) -> String {
    let causes = std::iter::successors(failure.source(), |&cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A body that fails before hyper has sent the head leaves no response, over a socket too.
#[tokio::test]
async fn reports_a_body_that_fails_at_once() {
    let service = service_fn(async |_| {
        let chunks = futures_util::stream::iter([Err::<bytes::Bytes, _>("the disk has failed")]);
        Ok::<_, Infallible>(Response::new(Body::from_stream(chunks)))
    });
    let handler = Handler::new(URL).unwrap();
    let url = handler.url_of(&Dialect::KAZOO_4_3_106, &file());
    let fetched = Client::over(service)
        .fetch(&Dialect::KAZOO_4_3_106, &handler, &url, &file())
        .await;
    let failure = fetched.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Broken);
    let causes = causes(&failure);
    assert!(
        causes.contains("Body") && causes.contains("the disk has failed"),
        "{causes}"
    );
}

/// The assertions show the test author why the service fails, also on a connection that it has used before.
#[tokio::test]
async fn shows_the_error_of_a_failing_service_and_its_panic() {
    for (panics, expected) in [(false, "the database is down"), (true, "the handler has panicked")] {
        let storage = app();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let storage = storage.clone();
            async move {
                if request.uri().path().contains("_test_cred") {
                    let answered = storage.oneshot(request).await;
                    return answered.map_err(|never| match never {});
                }
                assert!(!panics, "the handler has panicked");
                Err("the database is down")
            }
        });
        let message = panic_of(assert_serves_every_release(service, URL)).await;
        assert!(
            message.contains("PUT /some_prefix/") && message.contains(expected),
            "{message}"
        );
    }
}

/// Waiting for retries takes tokio's time.
#[tokio::test(start_paused = true)]
async fn waits_for_a_retry() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = service_fn(move |_| {
        let first = counted.fetch_add(1, Ordering::Relaxed) < 2;
        async move {
            let status = if first {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::CREATED
            };
            let response = Response::builder().status(status).header(header::RETRY_AFTER, "20");
            Ok::<_, Infallible>(response.body(Body::empty()).unwrap())
        }
    });
    let stored = Client::over(service)
        .store(&Dialect::KAZOO_4_3_106, &Handler::new(URL).unwrap(), &file())
        .await;
    assert_eq!(stored.unwrap().history.waited, Duration::from_secs(40));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
