//! `ConfirmBody` around handlers that treat the body carelessly.

use std::{convert::Infallible, io};

use axum::{
    Router,
    routing::{any, put},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use kazoo_storage::{
    Base64, Body, ConfirmBody, DecodeBase64, Error, ErrorKind, Outcome, SplitMultipart, VerifyDigest,
    metadata::MediaPart,
};
use kazoo_storage_client::{Attachment, Client, Dialect, Document, Handler, Verb};
use tower::{ServiceBuilder, ServiceExt as _, service_fn};

/// The treatment of a body by a handler.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Nothing,
    /// One chunk.
    Start,
    /// The whole body, and ignores its error.
    All,
    /// All chunks that `is_end_stream` announces.
    UntilEndOfStream,
    /// The whole body, in a task that outlives the response.
    Later,
}

async fn read(mut body: Body, reads: Reads) {
    match reads {
        Reads::Nothing => {}
        Reads::Start => drop(body.frame().await),
        Reads::All => while let Some(Ok(_)) = body.frame().await {},
        Reads::UntilEndOfStream => {
            while !body.is_end_stream() {
                body.frame().await;
            }
        }
        Reads::Later => {
            tokio::spawn(async move {
                tokio::task::yield_now().await;
                drop(body.collect().await);
            });
        }
    }
}

/// Two chunks, and then an error with `fails`.
fn chunks(fails: bool) -> Body {
    let chunk = |text: &'static str| Ok(Frame::data(Bytes::from(text)));
    let mut frames = vec![chunk("ID3"), chunk("...")];
    frames.extend(fails.then(|| Err(io::Error::other("reset"))));
    Body::new(StreamBody::new(stream::iter(frames)))
}

/// Returns the response to a request whose handler reads its body like this and answers with `status`.
async fn answer(method: Method, body: Body, reads: Reads, status: StatusCode) -> Response<Body> {
    let service =
        ServiceBuilder::new()
            .layer(ConfirmBody::new())
            .service(service_fn(move |request: Request<Body>| async move {
                read(request.into_body(), reads).await;
                let mut response = Response::new(Body::from("of the handler"));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }));
    let request = Request::builder().method(method).uri("/").body(body).unwrap();
    service.oneshot(request).await.unwrap()
}

#[tokio::test]
async fn a_success_requires_the_whole_body() {
    use Reads::{All, Later, Nothing, Start, UntilEndOfStream};

    for (reads, status) in [(Nothing, 500), (Start, 500), (Later, 500), (All, 201)] {
        let response = answer(Method::PUT, chunks(false), reads, StatusCode::CREATED).await;
        assert_eq!(response.status(), status, "{reads:?}");
        if let Some(Outcome::Failed { error, .. }) = response.extensions().get() {
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.message().contains("answered 201 without reading"), "{error}");
        }
    }
    let response = answer(Method::PUT, Body::from("ID3"), UntilEndOfStream, StatusCode::CREATED).await;
    assert_eq!(response.status(), 201);
}

/// KAZOO follows these redirects with a GET, and takes a 200 for the success of the upload.
#[tokio::test]
async fn an_unread_upload_does_not_become_a_fetch() {
    for (method, status) in [
        (Method::POST, StatusCode::MOVED_PERMANENTLY),
        (Method::POST, StatusCode::FOUND),
        (Method::POST, StatusCode::SEE_OTHER),
        (Method::PUT, StatusCode::SEE_OTHER),
    ] {
        for reads in [Reads::Nothing, Reads::Start] {
            let response = answer(method.clone(), chunks(false), reads, status).await;
            assert_eq!(response.status(), 500, "{method} {status} {reads:?}");
            let Some(Outcome::Failed { error, .. }) = response.extensions().get() else {
                panic!("the response has no error");
            };
            assert!(error.message().contains("redirect a POST with 307"), "{error}");
        }
    }
}

/// `Client` follows redirects as KAZOO does.
#[tokio::test]
async fn kazoo_loses_no_redirected_upload() {
    let stored = async |app: Router, verb| {
        let handler = Handler::new("http://storage.example.com/old").unwrap().verb(verb);
        let document = Document::from_json(r#"{"_id":"DOC"}"#).unwrap();
        let file = Attachment::new("ACC", document, "message.mp3", "ID3");
        Client::over(app).store(&Dialect::KAZOO_4_3_106, &handler, &file).await
    };
    for status in [301, 302, 303, 307] {
        for verb in [Verb::Put, Verb::Post] {
            let redirect = async move || {
                let location = [(header::LOCATION, "http://storage.example.com/new")];
                (StatusCode::from_u16(status).unwrap(), location)
            };
            let app = Router::new()
                .route("/old/{*path}", any(redirect))
                .layer(ConfirmBody::new())
                .route("/new", any(async |_: Bytes| StatusCode::OK));
            let is_sent_again = matches!((verb, status), (Verb::Put, 301 | 302) | (Verb::Post, 307));
            let stored = stored(app, verb).await;
            assert_eq!(stored.is_ok(), is_sent_again, "{verb:?} {status}: {stored:?}");
        }
    }
}

#[tokio::test]
async fn the_error_of_the_body_is_the_response() {
    for status in [StatusCode::CREATED, StatusCode::NOT_FOUND, StatusCode::BAD_GATEWAY] {
        let response = answer(Method::POST, chunks(true), Reads::All, status).await;
        assert_eq!(response.status(), 400, "{status}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(br#"{"error":"incomplete_body""#), "{body:?}");
    }
}

#[tokio::test]
async fn other_responses_are_unchanged() {
    let handlers = |body: fn() -> Body, method: Method, status| answer(method, body(), Reads::Nothing, status);
    for response in [
        handlers(|| chunks(false), Method::PUT, StatusCode::NOT_FOUND).await,
        // KAZOO sends these uploads again, to the new URL.
        handlers(|| chunks(false), Method::POST, StatusCode::TEMPORARY_REDIRECT).await,
        handlers(|| chunks(false), Method::PUT, StatusCode::MOVED_PERMANENTLY).await,
        handlers(|| chunks(false), Method::PUT, StatusCode::FOUND).await,
        // The handler has the file, and may redirect to it.
        answer(Method::POST, chunks(false), Reads::All, StatusCode::SEE_OTHER).await,
        handlers(|| chunks(false), Method::GET, StatusCode::OK).await,
        handlers(Body::empty, Method::PUT, StatusCode::CREATED).await,
    ] {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "of the handler");
    }
}

/// axum's `Bytes` answers an invalid body with plain text, and a careless handler with 201.
#[tokio::test]
async fn layers_in_front_of_axum_handlers_answer_invalid_uploads_themselves() {
    let layers = ServiceBuilder::new()
        .layer(VerifyDigest::new())
        .layer(SplitMultipart::new())
        .layer(DecodeBase64::new(Base64::Declared))
        .layer(ConfirmBody::new());
    let careless = async |body: axum::body::Body| {
        drop(body.collect().await);
        StatusCode::CREATED
    };
    let app = Router::new()
        .route("/bytes", put(async |_: Bytes| StatusCode::CREATED))
        .route("/careless", put(careless))
        .layer(layers);
    let send = async |path: &str, version, content_type: &str, body: Body| {
        let request = Request::put(path)
            .version(version)
            .header(header::CONTENT_TYPE, content_type)
            .header("digest", format!("md5={}", BASE64_STANDARD.encode([0; 16])));
        let mut request = request.body(body).unwrap();
        if content_type != "audio/x-digest" {
            request.headers_mut().remove("digest");
        }
        if content_type == "audio/mpeg" {
            request.extensions_mut().insert(MediaPart::default());
        }
        app.clone().oneshot(request).await.unwrap()
    };
    for path in ["/bytes", "/careless"] {
        for (content_type, version, body, kind) in [
            ("audio/mpeg", Version::HTTP_11, Body::from("SUQz"), ""),
            ("audio/mpeg", Version::HTTP_11, Body::from("SUQ*"), "invalid_base64"),
            ("audio/x-digest", Version::HTTP_11, Body::from("ID3"), "digest_mismatch"),
            (
                "multipart/mixed; boundary=B",
                Version::HTTP_11,
                Body::from("--B\r\ncontent-type: application/json\r\n\r\n{}\r\n--B\r\n\r\nSUQz"),
                "invalid_multipart",
            ),
            // The stream ended without END_STREAM.
            ("audio/wav", Version::HTTP_2, chunks(false), "incomplete_body"),
        ] {
            let response = send(path, version, content_type, body).await;
            let status = if kind.is_empty() { 201 } else { 400 };
            assert_eq!(response.status(), status, "{path} {content_type}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            assert_eq!(
                json["error"].as_str().unwrap_or_default(),
                kind,
                "{path} {content_type}"
            );
        }
    }
}

#[tokio::test]
async fn the_failure_of_the_handler_passes() {
    let service = ServiceBuilder::new()
        .layer(ConfirmBody::new())
        .service(service_fn(async |_: Request<Body>| {
            Err::<Response<Body>, _>(Error::new(ErrorKind::Unavailable, "down"))
        }));
    let request = Request::put("/").body(chunks(false)).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap_err().message(), "down");
}

/// `Detect` cannot tell base64 that is broken at its start from a file, so it is no invalid upload.
#[tokio::test]
async fn only_declared_base64_is_refused_for_a_fault_at_its_start() {
    let mp3: Vec<u8> = [b"ID3\x04\0\0\0\0\0\x0a", &[0x55; 9000][..]].concat();
    for (mode, at, status) in [
        (Base64::Detect, 1000, StatusCode::CREATED),
        (Base64::Detect, 4000, StatusCode::BAD_REQUEST),
        (Base64::Declared, 1000, StatusCode::BAD_REQUEST),
        (Base64::Declared, 4000, StatusCode::BAD_REQUEST),
    ] {
        let mut text = BASE64_STANDARD.encode(&mp3);
        text.replace_range(at..=at, "*");
        let sent = text.clone();
        let app = Router::new()
            .route(
                "/upload",
                put(async move |body: Body| {
                    let content = body.collect().await.map(http_body_util::Collected::to_bytes);
                    if content.is_ok_and(|content| content == sent) {
                        StatusCode::CREATED
                    } else {
                        StatusCode::IM_A_TEAPOT
                    }
                }),
            )
            .layer(
                ServiceBuilder::new()
                    .layer(DecodeBase64::new(mode))
                    .layer(ConfirmBody::new()),
            );
        let upload = Request::put("/upload")
            .header("content-type", "audio/mpeg")
            .extension(MediaPart::default())
            .body(axum::body::Body::from(text))
            .unwrap();
        assert_eq!(app.oneshot(upload).await.unwrap().status(), status, "{mode:?} {at}");
    }
}
