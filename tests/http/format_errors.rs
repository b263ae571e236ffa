//! `FormatErrors` in front of the whole service.

use axum::Router;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    AccessRules, Body, Error, ErrorKind, FormatErrors, KazooStorage, MemoryStore, Outcome, authorize::Credential,
};
use serde_json::{Value, json};
use tower::{Layer as _, ServiceBuilder, ServiceExt as _};

/// The format of the application, which makes a new response for some errors.
fn format(error: &Error, response: Response<Body>) -> Response<Body> {
    let json = json!({ "code": error.kind().as_str(), "detail": error.message() }).to_string();
    if error.kind() == ErrorKind::NotFound {
        let response = Response::builder().status(error.status());
        let response = response.header(header::CONTENT_TYPE, "application/json");
        return response.body(Body::from(json)).unwrap();
    }
    response.map(|_| json.into())
}

async fn json_of(response: Response<Body>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn formats_the_errors_of_every_layer() {
    let storage = KazooStorage::new(MemoryStore::new())
        .max_body(1000)
        .authorize(AccessRules::new().credential(Credential::token("fI6n-3Qc")))
        .into_service();
    let full = KazooStorage::new(MemoryStore::new()).max_concurrent(0).into_service();
    let [storage, full] = [storage, full].map(|storage| FormatErrors::new(format).layer(storage));
    let put = |path: &str| Request::put(format!("/fI6n-3Qc{path}"));
    let stored = put("/A/B/C").body(Body::from("ID3")).unwrap();
    let stored = storage.clone().oneshot(stored).await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);

    let fetch = || Request::get("/fI6n-3Qc/A/B/C");
    let empty = Body::empty;
    for (service, request, kind, kept) in [
        (
            &storage,
            Request::put("/A/B/C").body(empty()),
            ErrorKind::Unauthorized,
            "www-authenticate",
        ),
        (&storage, put("/A/%2E%2E/C").body(empty()), ErrorKind::InvalidKey, ""),
        (
            &storage,
            put("/A/B/C").header("host", "a").header("host", "b").body(empty()),
            ErrorKind::InvalidRequest,
            "connection",
        ),
        (
            &storage,
            put("/A/B/C").body(Body::from("x".repeat(1001))),
            ErrorKind::TooLarge,
            "",
        ),
        (
            &storage,
            put("/A/B/C")
                .header("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")
                .body(Body::from("ID3")),
            ErrorKind::DigestMismatch,
            "",
        ),
        (
            &storage,
            put("/A/B/C")
                .header("content-type", "multipart/mixed; boundary=B")
                .body(Body::from("--B\r\n")),
            ErrorKind::InvalidMultipart,
            "",
        ),
        (
            &storage,
            put("/A/B/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt").body(Body::from("wrong")),
            ErrorKind::InvalidProbe,
            "",
        ),
        (
            &storage,
            Request::delete("/fI6n-3Qc/A/B/C").body(empty()),
            ErrorKind::MethodNotAllowed,
            "allow",
        ),
        (
            &storage,
            Request::get("/fI6n-3Qc/A/B/D").body(empty()),
            ErrorKind::NotFound,
            "",
        ),
        (
            &storage,
            fetch().header("range", "bytes=7-").body(empty()),
            ErrorKind::RangeNotSatisfiable,
            "content-range",
        ),
        (
            &storage,
            fetch().header("if-match", "\"x\"").body(empty()),
            ErrorKind::PreconditionFailed,
            "",
        ),
        (&full, fetch().body(empty()), ErrorKind::Unavailable, "retry-after"),
    ] {
        let response = service.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), kind.status(), "{kind}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "{kind}");
        let has_kept = |headers: &HeaderMap| kept.is_empty() || headers.contains_key(kept);
        assert!(has_kept(response.headers()), "{kind}: {:?}", response.headers());
        let outcome = response.extensions().get::<Outcome>();
        assert!(
            matches!(outcome, Some(Outcome::Failed { error, .. }) if error.kind() == kind),
            "{outcome:?}"
        );
        let json = json_of(response).await;
        assert_eq!(json["code"], kind.as_str());
        assert_eq!(json.as_object().unwrap().len(), 2, "{json}");
    }
}

/// A router's own responses have no error of this crate.
#[tokio::test]
async fn leaves_other_responses_of_the_application_alone() {
    let storage = KazooStorage::new(MemoryStore::new()).into_service();
    let app = Router::new()
        .nest_service("/kazoo", storage)
        .fallback(async || (StatusCode::NOT_FOUND, "of the application"));
    let app = ServiceBuilder::new().layer(FormatErrors::new(format)).service(app);
    let get = |path: &str| Request::get(path).body(axum::body::Body::empty()).unwrap();
    let response = app.clone().oneshot(get("/other")).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "of the application"
    );
    let response = app.oneshot(get("/kazoo/A/B/C")).await.unwrap();
    assert_eq!(json_of(response).await["code"], "not_found");
}
