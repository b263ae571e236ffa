//! Extractors for axum handlers behind the layers, and [`Error`] as a response.
//!
//! | extractor | value | from |
//! | --- | --- | --- |
//! | [`Media`] | the whole body, in memory | |
//! | [`Body`] | the body, as it arrives | |
//! | [`Metadata`], `Option<Metadata>` | the JSON of a multipart upload | [`SplitMultipart`](crate::SplitMultipart) |
//! | [`BlobKey`] | the name of the file | [`ExtractKey`](crate::ExtractKey) |
//! | [`Grant`] | the permissions of the request | [`Authorize`](crate::Authorize) |
//!
//! Each rejects a request with an [`Error`], whose response KAZOO shows to the administrator. For [`BlobKey`], [`Grant`] and
//! [`Metadata`], a missing layer is [`ErrorKind::Internal`], and the message names it. Prefer `Option<Metadata>`:
//! [`Metadata`] refuses an upload without multipart. axum's own extractors, such as `Bytes`, answer an invalid upload
//! with plain text instead, and with 400 or 500 for every reason.
//!
//! ```
//! use axum::{Router, body::Body, routing::put};
//! use http::{Request, StatusCode};
//! use kazoo_storage::{BlobKey, Error, ExtractKey, Metadata, PathKey, SplitMultipart, axum::Media};
//! use tower::{ServiceBuilder, ServiceExt as _};
//!
//! async fn upload(key: BlobKey, metadata: Option<Metadata>, Media(media): Media) -> Result<StatusCode, Error> {
//!     println!("{key}: {} bytes, call {:?}", media.len(), metadata.and_then(|metadata| metadata.field("call_id")));
//!     Ok(StatusCode::CREATED)
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let app = Router::new()
//!     .route("/{*path}", put(upload))
//!     .layer(ServiceBuilder::new().layer(ExtractKey::new(PathKey)).layer(SplitMultipart::new()));
//! for (body, status) in [
//!     ("--B\r\ncontent-type: application/json\r\n\r\n{}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3\r\n--B--", StatusCode::CREATED),
//!     ("--B\r\ncontent-type: application/json\r\n\r\n{}\r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3", StatusCode::BAD_REQUEST),
//! ] {
//!     let upload = Request::put("/ACCOUNT/DOCUMENT/message.mp3")
//!         .header("content-type", "multipart/mixed; boundary=B")
//!         .body(Body::from(body))
//!         .unwrap();
//!     assert_eq!(app.clone().oneshot(upload).await.unwrap().status(), status);
//! }
//! # });
//! ```

use axum_core::{
    RequestExt as _,
    extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, header, request::Parts};
use http_body_util::BodyExt as _;

use crate::{
    blocks::Blocks,
    body::Body,
    error::{Error, ErrorKind, Result},
    framing::guard,
    grant::Grant,
    key::BlobKey,
    metadata::Metadata,
};

/// Extractor of the whole body: the media, if [`SplitMultipart`](crate::SplitMultipart) is in front.
///
/// It is held in memory, which takes up to twice its length. Like `Bytes`, it is limited by axum's `DefaultBodyLimit`: 2 MB
/// by default, less than most recordings. Extract the [`Body`] to read the media as it arrives, without this limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media(pub Bytes);

impl<S: Sync> FromRequest<S> for Media {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (mut head, body) = request.with_limited_body().into_parts();
        let mut body = guard(&mut head, body)?;
        let mut media = Blocks::default();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame.map_err(explain_limit)?.data_ref() {
                media.push(data);
            }
        }
        Ok(Self(media.into_bytes()))
    }
}

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let (mut head, body) = request.into_parts();
        guard(&mut head, body)
    }
}

impl<S: Sync> FromRequestParts<S> for BlobKey {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self> {
        extension(head).ok_or_else(|| missing("a BlobKey", "ExtractKey"))
    }
}

impl<S: Sync> FromRequestParts<S> for Grant {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self> {
        extension(head).ok_or_else(|| missing("a Grant", "Authorize"))
    }
}

/// An upload that is not multipart has no metadata, and is [`ErrorKind::InvalidMetadata`].
impl<S: Sync> FromRequestParts<S> for Metadata {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self> {
        optional_metadata(head)?.ok_or_else(|| {
            let message = "the upload has no metadata, which this service requires: set `send_multipart` in KAZOO's storage \
                           settings";
            Error::new(ErrorKind::InvalidMetadata, message)
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Metadata {
    type Rejection = Error;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Option<Self>> {
        optional_metadata(head)
    }
}

/// The response of [`Error::to_response`].
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.to_response().into_response()
    }
}

fn extension<T: Clone + Send + Sync + 'static>(head: &Parts) -> Option<T> {
    head.extensions.get().cloned()
}

/// Returns the metadata, if there is any, and an error if the body is a multipart body that no layer has split.
fn optional_metadata(head: &Parts) -> Result<Option<Metadata>> {
    let metadata = extension(head);
    if metadata.is_none() && is_unsplit(head) {
        return Err(missing("Metadata", "SplitMultipart"));
    }
    Ok(metadata)
}

/// Returns `true` if the `content-type` is one that `SplitMultipart` replaces.
fn is_unsplit(head: &Parts) -> bool {
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    ["multipart/mixed", "multipart/form-data"].iter().any(|multipart| {
        let start = content_type.and_then(|content_type| content_type.get(..multipart.len()));
        start.is_some_and(|start| start.eq_ignore_ascii_case(multipart.as_bytes()))
    })
}

fn missing(value: &str, layer: &str) -> Error {
    let message =
        format!("the handler extracts {value}, but no layer inserts it: add the layer {layer} in front of it");
    Error::new(ErrorKind::Internal, message)
}

/// Names axum's limit in an error that may stem from it.
fn explain_limit(error: Error) -> Error {
    let source = std::error::Error::source(&error);
    if error.kind() != ErrorKind::TooLarge || source.is_none() {
        return error;
    }
    let message = "the media exceeds axum's `DefaultBodyLimit`, which is 2 MB unless the application changes it, or the limit \
                   of a layer in front";
    Error::new(ErrorKind::TooLarge, message).with_source(error)
}
