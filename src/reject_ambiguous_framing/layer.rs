use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that rejects requests whose end or host is ambiguous.
///
/// If a proxy in front and this server disagree on where a request ends, an attacker can smuggle a second one past the
/// proxy, or an upload can be truncated unnoticed. [`RejectAmbiguousFraming`] answers with 400 and closes the
/// connection, so that nothing after the request is interpreted as another one. Over HTTP/1 it rejects
///
/// - a PUT or POST over HTTP/1.0 without `content-length`, whose body is indistinguishable from an empty one;
/// - a `transfer-encoding` other than a single `chunked`;
/// - more than one `host`, or an invalid one.
///
/// It also guards the end of the body, as every layer that reads bodies does: the body ends cleanly only if its
/// `content-length` has arrived, or, over HTTP/2 without one, if `is_end_stream` confirms its end. hyper reports a
/// stream that was reset with `NO_ERROR` as complete.
///
/// The body of a rejected request is not read: put [`DrainBody`](crate::DrainBody) in front.
///
/// ```
/// use http::{Request, Response};
/// use kazoo_storage::{Body, RejectAmbiguousFraming};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(RejectAmbiguousFraming::new()).service(service_fn(
///     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::empty())),
/// ));
/// for (encoding, status) in [("chunked", 200), ("gzip, chunked", 400)] {
///     let request = Request::put("/").header("transfer-encoding", encoding).body(Body::from("ID3")).unwrap();
///     assert_eq!(service.clone().oneshot(request).await.unwrap().status(), status);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RejectAmbiguousFraming;

impl RejectAmbiguousFraming {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RejectAmbiguousFraming {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
