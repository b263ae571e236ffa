use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that extracts the media and the metadata from a multipart body.
///
/// With `send_multipart`, KAZOO sends two parts: the JSON of the document, then the media. [`SplitMultipart`] reads the
/// first and streams the second. The inner service receives the plain upload that KAZOO sends without `send_multipart`:
///
/// - the body and the `content-type` are those of the media part, and `content-length` is removed;
/// - the request extensions contain [`Metadata`](crate::Metadata) and [`MediaPart`](crate::metadata::MediaPart).
///
/// Other requests pass unchanged. Parts are identified by position, because KAZOO's releases name them differently or
/// not at all. A first part that is not JSON is the media. The boundary comes from the `content-type`, quoted or not,
/// or from the first line of the body: releases 4.3.17 to 4.3.20 send `multipart/mixed` without a boundary.
///
/// Bodies are parsed according to RFC 2046. A part may have no headers, and they may be folded. A delimiter is a whole
/// line: at most 64 bytes of white space may follow the boundary, and a line with anything else there is content. Line
/// breaks are CR LF. Any other format is rejected with 400, so the media is stored complete or not at all. A part with
/// a `content-encoding`, or with an unknown `content-transfer-encoding`, is rejected with 415.
///
/// The body ends cleanly only after the closing delimiter and the end of the request body. Whatever the client sends,
/// the layer holds at most one chunk of the body, 16 KiB of the headers of a part, and the JSON (1 MiB by default). It
/// passes the media on without copying it.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use kazoo_storage::{Body, Metadata, SplitMultipart};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(SplitMultipart::new()).service(service_fn(
///     async |request: Request<Body>| {
///         let metadata = request.extensions().get::<Metadata>().unwrap();
///         assert_eq!(metadata.field("call_id").unwrap(), "b3f6");
///         assert_eq!(request.headers()["content-type"], "audio/mpeg");
///         let media = request.into_body().collect().await.unwrap().to_bytes();
///         assert_eq!(media, "ID3…");
///         Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
///     },
/// ));
/// let request = Request::put("/ACC/DOC/ATT.mp3")
///     .header("content-type", "multipart/form-data; boundary=B")
///     .body(Body::from(
///         "\r\n--B\r\ncontent-type: application/json\r\n\r\n{\"call_id\":\"b3f6\"}\
///          \r\n--B\r\ncontent-type: audio/mpeg\r\n\r\nID3…\r\n--B--",
///     ))
///     .unwrap();
/// assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SplitMultipart {
    pub(super) max_metadata: usize,
}

impl SplitMultipart {
    /// Default maximum length of the JSON part: 1 MiB.
    pub const DEFAULT_MAX_METADATA: usize = 1 << 20;

    /// Splits multipart bodies whose JSON part has at most [`DEFAULT_MAX_METADATA`](Self::DEFAULT_MAX_METADATA) bytes.
    #[must_use]
    pub fn new() -> Self {
        Self {
            max_metadata: Self::DEFAULT_MAX_METADATA,
        }
    }

    /// Rejects a JSON part of more than `bytes` with 413.
    #[must_use]
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.max_metadata = bytes;
        self
    }
}

impl Default for SplitMultipart {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SplitMultipart {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
