//! Grants: their scope and limit, from an authorizer and from the application's own middleware.

use axum::{Router, middleware};
use http::{Request, StatusCode, request::Parts};
use kazoo_storage::{
    BlobKey, Body, KazooStorage, MemoryStore, PathKey, Result,
    authorize::{Authorizer, take_first_segment},
    extract_key::KeyExtractor as _,
    grant::Grant,
};
use tower::ServiceExt as _;

const ACCOUNT: &str = "0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7";

async fn send(app: &Router, method: &str, path: &str, body: impl Into<Body>) -> StatusCode {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(axum::body::Body::new(body.into())).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[derive(Clone)]
struct Tenant(String);

/// Finds the tenant by the first segment of the path.
struct Tenants;

impl Authorizer for Tenants {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        let tenant = take_first_segment(request).unwrap_or_default();
        tokio::task::yield_now().await;
        let folder = BlobKey::from_segments([&tenant])?;
        request.extensions.insert(Tenant(tenant));
        Ok(Grant::everything().folders([folder]).max_body(8))
    }
}

#[tokio::test]
async fn separates_the_tenants_of_an_authorizer() {
    let by_tenant = |request: &Parts| BlobKey::from_segments([&request.extensions.get::<Tenant>().unwrap().0]);
    let storage = KazooStorage::new(MemoryStore::new())
        .authorize(Tenants)
        .key(PathKey.prefixed(by_tenant));
    let app = Router::new().nest_service("/p", storage.into_service());
    let file = format!("/{ACCOUNT}/DOC/a.mp3");
    assert_eq!(send(&app, "PUT", &format!("/p/one{file}"), "ID3").await, 201);
    for path in [
        format!("/p/one{file}"),
        format!("/p/one{file}{file}?folder=new"),
        format!("/p/one{file}/one{file}"),
    ] {
        assert_eq!(send(&app, "GET", &path, Body::empty()).await, 200, "{path}");
    }
    assert_eq!(send(&app, "GET", &format!("/p/two{file}"), Body::empty()).await, 404);
    assert_eq!(
        send(&app, "GET", &format!("/p/two/one{file}"), Body::empty()).await,
        404
    );
    assert_eq!(
        send(&app, "PUT", &format!("/p/one{file}"), "more than 8 bytes").await,
        413
    );
}

/// The application inserts the grant before the request enters the service.
#[tokio::test]
async fn honors_a_grant_of_middleware() {
    let grant = Grant::everything().accounts([ACCOUNT]).max_body(3);
    let insert = middleware::map_request(move |mut request: axum::extract::Request| {
        request.extensions_mut().insert(grant.clone());
        std::future::ready(request)
    });
    let storage = KazooStorage::new(MemoryStore::new()).max_body(1000);
    let app = Router::new().nest_service("/p", storage.into_service()).layer(insert);
    let own = format!("/p/{ACCOUNT}/DOC/a.mp3");
    assert_eq!(send(&app, "PUT", &own, "ID3").await, 201);
    // A body without a declared length meets the same limit.
    let chunked = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(
        ["ID", "3!"].map(|chunk| Ok::<_, kazoo_storage::Error>(http_body::Frame::data(bytes::Bytes::from(chunk)))),
    )));
    for body in [Body::from("ID3!"), chunked] {
        assert_eq!(send(&app, "PUT", &own, body).await, 413);
    }
    assert_eq!(send(&app, "PUT", "/p/OTHER/DOC/a.mp3", "ID3").await, 403);
}

/// The limit of the service applies if it is the smaller one.
#[tokio::test]
async fn a_grant_does_not_raise_the_limit() {
    let grant = |_: &mut Parts| Ok(Grant::everything().max_body(1000));
    let storage = KazooStorage::new(MemoryStore::new()).max_body(3).authorize(grant);
    let app = Router::new().nest_service("/p", storage.into_service());
    assert_eq!(send(&app, "PUT", "/p/A/B/C", "ID3").await, 201);
    assert_eq!(send(&app, "PUT", "/p/A/B/C", "ID3!").await, 413);
}

/// The limit is that of the file, without its encodings and its JSON.
#[tokio::test]
async fn limits_the_decoded_media() {
    let storage = KazooStorage::new(MemoryStore::new())
        .max_media(9)
        .base64(kazoo_storage::Base64::Declared);
    let app = Router::new().nest_service("/p", storage.into_service());
    for (media, status) in [("MTIzNDU2Nzg5", 201), ("MTIzNDU2Nzg5MA==", 413)] {
        let body = format!(
            "--B\r\ncontent-type: application/json\r\n\r\n{{\"call_id\":\"1\"}}\r\n\
             --B\r\ncontent-type: audio/mpeg\r\n\r\n{media}\r\n--B--\r\n"
        );
        let upload = Request::put("/p/A/B/C").header("content-type", "multipart/form-data; boundary=B");
        let upload = upload.body(axum::body::Body::from(body)).unwrap();
        assert_eq!(app.clone().oneshot(upload).await.unwrap().status(), status, "{media}");
    }
    for (media, status) in [("123456789", 201), ("1234567890", 413)] {
        assert_eq!(send(&app, "PUT", "/p/A/B/D", media).await, status, "{media}");
    }
    let fetched = Request::get("/p/A/B/C").body(axum::body::Body::empty()).unwrap();
    let fetched = app.clone().oneshot(fetched).await.unwrap().into_body();
    assert_eq!(
        axum::body::to_bytes(fetched, 100).await.unwrap(),
        "123456789",
        "the refused upload replaced the file"
    );
}
