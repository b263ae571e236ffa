use tower_layer::Layer;

use crate::exchange::ExchangeService;

/// Layer that reads the rest of a body before an early response.
///
/// KAZOO writes its whole upload before it reads the response. If the server answers early and closes the connection,
/// KAZOO loses the status of some rejected uploads of 1 to 20 MiB (6 of 18 runs). [`DrainBody`] therefore reads the
/// part of the body that the inner service has left unread, up to a limit, before it passes the response on. The bytes
/// are dropped.
///
/// It closes the connection (HTTP/1) if the position of the next request is unknown:
///
/// - more of the body is left than the limit;
/// - the body ended with an error, such as the timeout of [`RejectStalledBody`](crate::RejectStalledBody);
/// - the client still waits for `100 Continue`: it gets the response without sending its body;
/// - the body had trailers, whose end another parser may see elsewhere.
///
/// The layer belongs in front of every layer that can reject a request, and behind
/// [`RejectStalledBody`](crate::RejectStalledBody), which limits the time of draining too.
///
/// ```
/// use http::{Request, Response, header};
/// use kazoo_storage::{Body, DrainBody};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(DrainBody::new().max(4)).service(service_fn(
///     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::from("no"))),
/// ));
/// for (body, closes) in [("four", false), ("fives", true)] {
///     let response = service.clone().oneshot(Request::put("/").body(Body::from(body)).unwrap()).await.unwrap();
///     assert_eq!(response.headers().contains_key(header::CONNECTION), closes);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DrainBody {
    pub(super) max: u64,
}

impl DrainBody {
    /// Default maximum number of bytes to read: 64 MiB.
    pub const DEFAULT_MAX: u64 = 64 << 20;

    /// Reads up to [`DEFAULT_MAX`](Self::DEFAULT_MAX) bytes before an early response.
    #[must_use]
    pub fn new() -> Self {
        Self { max: Self::DEFAULT_MAX }
    }

    /// Reads up to `bytes` before an early response. The connection closes if more is left.
    #[must_use]
    pub fn max(mut self, bytes: u64) -> Self {
        self.max = bytes;
        self
    }
}

impl Default for DrainBody {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DrainBody {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(*self, inner)
    }
}
