use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that rejects an upload that does not match the digest in its headers.
///
/// A client that sends a digest asks for verification of the body. [`VerifyDigest`] computes the digest while the body
/// passes. If it differs, the body ends with an error, which becomes a 400. A body without such a header passes
/// unchanged. KAZOO never sends one.
///
/// | header | covers | algorithms |
/// | --- | --- | --- |
/// | `Content-MD5` (RFC 1864) | the body | MD5 |
/// | `Content-Digest` (RFC 9530) | the body | `sha-256`, `sha-512`, `md5` |
/// | `Repr-Digest` (RFC 9530) | the body | `sha-256`, `sha-512`, `md5` |
/// | `Digest` (RFC 3230, obsolete) | the body | `SHA-256`, `SHA-512`, `MD5` |
///
/// *The body* is everything that was sent, without its chunk framing: the complete multipart body of a multipart
/// upload, and base64 before decoding. An upload has no content coding and is a whole representation, so `Repr-Digest`
/// covers the same bytes as `Content-Digest`. The layer therefore belongs in front of
/// [`SplitMultipart`](crate::SplitMultipart) and [`DecodeBase64`](crate::DecodeBase64). A digest in the headers of a
/// part, or in a trailer, is ignored.
///
/// Every digest with a supported algorithm must match. An unsupported algorithm beside a supported one is ignored, as
/// RFC 9530 says. A header without a supported algorithm, or a malformed one, is answered with 400 before the body is
/// read, because a 201 would claim that the body was verified.
///
/// The layer does not buffer the body.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use kazoo_storage::{Body, Error, VerifyDigest};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(VerifyDigest::new()).service(service_fn(
///     async |request: Request<Body>| {
///         Ok::<_, std::convert::Infallible>(match request.into_body().collect().await {
///             Ok(_) => Response::new(Body::empty()),
///             Err(error) => Error::from_body(error).to_response(),
///         })
///     },
/// ));
/// for (body, status) in [("abc", 200), ("abd", 400)] {
///     let request = Request::put("/ACC/DOC/ATT.mp3")
///         .header("content-md5", "kAFQmDzST7DWlj99KOF/cg==")
///         .body(Body::from(body))
///         .unwrap();
///     assert_eq!(service.clone().oneshot(request).await.unwrap().status(), status);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VerifyDigest;

impl VerifyDigest {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for VerifyDigest {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
