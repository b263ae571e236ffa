//! Takes the media out of a multipart body, and the metadata with it.
//!
//! With `send_multipart` KAZOO sends two parts: the JSON of the document, then the media. [`SplitMultipart`] reads the
//! first and streams the second. What the inner service gets is the plain upload that the same settings without
//! `send_multipart` would have made:
//!
//! - the body is the media part's, the `content-type` is the media part's, `content-length` is gone;
//! - [`Metadata`](crate::Metadata) and [`MediaPart`](crate::metadata::MediaPart) are among the request's extensions.
//!
//! Any other request passes unchanged. Parts are told apart by position, since KAZOO's versions name them in many ways
//! or not at all; a first part that is not JSON is the media itself. A boundary is taken from the `content-type`,
//! quoted or not, or from the first line of the body where there is none: releases 4.3.17 to 4.3.20 send
//! `multipart/mixed` without it.
//!
//! Bodies are parsed according to RFC 2046. A part may have no headers, and they may be folded. A delimiter is a whole
//! line: at most 64 bytes of white space may follow the boundary, and a line with anything else there is content. Line
//! breaks are CR LF. Any other format is rejected with 400, so the media is stored complete or not at all. A part with
//! a `content-encoding`, or with an unknown `content-transfer-encoding`, is rejected with 415.
//!
//! The body ends cleanly only after the closing delimiter and the end of the request's own body have been seen. At most
//! one chunk of the request's body, 16 KiB of the headers of a part and the JSON (1 MiB by default) are held, whatever the peer
//! sends; the content of the parts is passed on as it comes, without a copy.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use kazoo_storage::{Body, Metadata, SplitMultipart};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let service = ServiceBuilder::new().layer(SplitMultipart::new()).service(service_fn(
//!     async |request: Request<Body>| {
//!         let metadata = request.extensions().get::<Metadata>().unwrap();
//!         assert_eq!(metadata.field("call_id").unwrap(), "b3f6");
//!         assert_eq!(request.headers()["content-type"], "audio/mpeg");
//!         let media = request.into_body().collect().await.unwrap().to_bytes();
//!         assert_eq!(media, "ID3…");
//!         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
//!     },
//! ));
//! let request = Request::put("/ACC/DOC/ATT.mp3")
//!     .header("content-type", "multipart/form-data; boundary=B")
//!     .body(Body::from(
//!         "\r\n--B\r\ncontent-type: application/json\r\n\r\n{\"call_id\":\"b3f6\"}\
//!          \r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3…\r\n--B--",
//!     ))
//!     .unwrap();
//! assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
//! # });
//! ```

mod body;
mod boundary;
mod delimiter;
mod headers;
mod layer;
mod service;

pub use self::layer::SplitMultipart;
