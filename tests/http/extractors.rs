//! The extractors of the feature `axum`.

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, put},
};
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Collected, StreamBody};
use kazoo_storage::{
    Authorize, Base64, BlobKey, Body, ConfirmBody, DecodeBase64, Error, ExtractKey, FormatErrors, Grant, LimitBody,
    Metadata, PathKey, SplitMultipart, axum::Media, metadata::MediaPart,
};
use tower::{ServiceBuilder, ServiceExt as _};

const MULTIPART: &str =
    "--B\r\ncontent-type: application/json\r\n\r\n{\"call_id\":\"b3f6\"}\r\n--B\r\n\r\nID3\r\n--B--";

fn upload(content_type: &str, body: impl Into<axum::body::Body>) -> Request<axum::body::Body> {
    Request::put("/ACC/DOC/ATT")
        .header("content-type", content_type)
        .body(body.into())
        .unwrap()
}

async fn send(app: &Router, request: Request<axum::body::Body>) -> (StatusCode, String) {
    let response: Response<axum::body::Body> = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The kind and the message of the error in `response`.
fn refusal((status, body): (StatusCode, String)) -> (u16, String, String) {
    let json: serde_json::Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}"));
    let text = |field: &str| json[field].as_str().unwrap().to_owned();
    assert_eq!(json["status"], status.as_u16());
    (status.as_u16(), text("error"), text("message"))
}

#[tokio::test]
async fn extract_the_results_of_the_layers() {
    async fn handler(key: BlobKey, grant: Grant, metadata: Metadata, Media(media): Media) -> Result<String, Error> {
        let call = metadata.field("call_id").unwrap_or_default();
        Ok(format!("{key} {} {call} {media:?}", grant.covers(&key)))
    }
    let layers = ServiceBuilder::new()
        .layer(Authorize::new(|_: &mut http::request::Parts| Ok(Grant::everything())))
        .layer(ExtractKey::new(PathKey))
        .layer(SplitMultipart::new());
    let app = Router::new().route("/{*path}", put(handler)).layer(layers);
    let answer = send(&app, upload("multipart/mixed; boundary=B", MULTIPART)).await;
    assert_eq!(
        answer,
        (StatusCode::OK, "ACC/DOC/ATT true \"b3f6\" b\"ID3\"".to_owned())
    );
    let (status, kind, message) = refusal(send(&app, upload("audio/mpeg", "ID3")).await);
    assert_eq!((status, &*kind), (400, "invalid_metadata"));
    assert!(message.contains("send_multipart"), "{message}");
}

#[tokio::test]
async fn a_missing_layer_is_named() {
    let app = Router::new()
        .route("/key", get(async |_: BlobKey| ()))
        .route("/grant", get(async |_: Grant| ()))
        .route("/metadata", get(async |_: Metadata| ()))
        .route("/optional", get(async |_: Option<Metadata>| ()));
    for (path, layer) in [
        ("/key", "ExtractKey"),
        ("/grant", "Authorize"),
        ("/metadata", "SplitMultipart"),
        ("/optional", "SplitMultipart"),
    ] {
        let request = Request::get(path).header("content-type", "Multipart/Form-Data; boundary=B");
        let answer = send(&app, request.body(axum::body::Body::empty()).unwrap()).await;
        let (status, kind, message) = refusal(answer);
        assert_eq!((status, &*kind), (500, "internal"), "{path}");
        assert!(message.contains(layer), "{message}");
    }
}

#[tokio::test]
async fn metadata_is_optional() {
    let handler = async |metadata: Option<Metadata>| metadata.is_some().to_string();
    let app = Router::new()
        .route("/{*path}", put(handler))
        .layer(SplitMultipart::new());
    for (content_type, body, has) in [
        ("multipart/mixed; boundary=B", MULTIPART, "true"),
        ("audio/mpeg", "ID3", "false"),
    ] {
        let answer = send(&app, upload(content_type, body)).await;
        assert_eq!(answer, (StatusCode::OK, has.to_owned()));
    }
}

/// Both extractors of a body.
fn bodies() -> [(&'static str, Router); 2] {
    let stream = async |body: Body| body.collect().await.map(Collected::to_bytes);
    let media = async |Media(media): Media| media;
    [
        ("Body", Router::new().route("/{*path}", put(stream))),
        ("Media", Router::new().route("/{*path}", put(media))),
    ]
}

#[tokio::test]
async fn an_invalid_body_is_answered_by_its_layer() {
    let layers = ServiceBuilder::new()
        .layer(LimitBody::new(100))
        .layer(DecodeBase64::new(Base64::Declared));
    for (name, app) in bodies() {
        let app = app.layer(layers.clone());
        let encoded = |body: String| {
            let mut request = upload("audio/mpeg", body);
            request.extensions_mut().insert(MediaPart::default());
            request
        };
        let answer = send(&app, encoded("SUQz".to_owned())).await;
        assert_eq!(answer, (StatusCode::OK, "ID3".to_owned()), "{name}");
        for (body, status, kind) in [("SUQ*", 400, "invalid_base64"), (&*"SUQz".repeat(26), 413, "too_large")] {
            let refused = refusal(send(&app, encoded(body.to_owned())).await);
            assert_eq!((refused.0, &*refused.1), (status, kind), "{name}");
            assert!(!refused.2.contains("DefaultBodyLimit"), "{}", refused.2);
        }
    }
}

/// Without a layer in front, the extractor itself checks the end of a body.
#[tokio::test]
async fn an_unconfirmed_end_is_an_error() {
    for (name, app) in bodies() {
        let body = StreamBody::new(stream::iter([Ok::<_, Error>(Frame::data("ID3".into()))]));
        let mut request = upload("audio/mpeg", axum::body::Body::new(body));
        *request.version_mut() = Version::HTTP_2;
        let refused = refusal(send(&app, request).await);
        assert_eq!((refused.0, &*refused.1), (400, "incomplete_body"), "{name}");
    }
}

#[tokio::test]
async fn media_has_the_body_limit_of_axum() {
    let [(_, body), (_, media)] = bodies();
    let large = || upload("audio/mpeg", vec![b'x'; (2 << 20) + 1]);
    let (status, kind, message) = refusal(send(&media, large()).await);
    assert_eq!((status, &*kind), (413, "too_large"));
    assert!(message.contains("DefaultBodyLimit"), "{message}");
    // The refusal of axum's own extractor is no `Error`, so nothing changes its text.
    let layers = ServiceBuilder::new()
        .layer(FormatErrors::new(|_: &Error, _: Response<Body>| {
            Response::new(Body::empty())
        }))
        .layer(ConfirmBody::new());
    let bytes = Router::new()
        .route("/{*path}", put(async |body: Bytes| body.len().to_string()))
        .layer(layers);
    let (status, text) = send(&bytes, large()).await;
    assert!(
        status == StatusCode::PAYLOAD_TOO_LARGE && text.contains("length limit"),
        "{status} {text}"
    );
    for app in [body, media.layer(DefaultBodyLimit::max(3 << 20))] {
        assert_eq!(send(&app, large()).await.0, StatusCode::OK);
    }
}
