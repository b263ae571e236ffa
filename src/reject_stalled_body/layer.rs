use std::time::Duration;

use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that ends bodies that arrive too slowly.
///
/// A client that sends one byte per second could hold a connection and a permit forever. [`RejectStalledBody`] ends
/// such a body with [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), which its handler answers with 408.
///
/// Within each timeout, 1 KiB or the end of the body must arrive. The longer a body takes, the faster it must be: after `n`
/// timeouts, from the second on, it must have delivered an average of `n` × 2 KiB per timeout, up to 128 KiB. With 30
/// seconds, that is 1.3 KiB/s after ten minutes, and at most 4.3 KiB/s, after half an hour. Only the time
/// spent waiting for the body counts: a slow store is not the client's fault.
///
/// [`LimitConcurrency`](crate::LimitConcurrency) behind the layer may end a slow upload earlier, in favor of a new
/// request; the upload ends with a retryable [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable).
///
/// The layer belongs in front of every layer that reads the body, [`DrainBody`](crate::DrainBody) included. It requires
/// a tokio runtime with timers enabled.
///
/// ```
/// use std::{pin::Pin, task::{Context, Poll}, time::Duration};
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::BodyExt;
/// use kazoo_storage::{Body, Error, RejectStalledBody};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// /// A body that never arrives.
/// struct Stalled;
///
/// impl http_body::Body for Stalled {
///     type Data = Bytes;
///     type Error = Error;
///
///     fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, Error>>> {
///         Poll::Pending
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let layer = RejectStalledBody::new(Duration::from_millis(10));
/// let service = ServiceBuilder::new().layer(layer).service(service_fn(async |request: Request<Body>| {
///     Ok::<_, std::convert::Infallible>(match request.into_body().collect().await {
///         Ok(_) => Response::new(Body::empty()),
///         Err(error) => error.to_response(),
///     })
/// }));
/// assert_eq!(service.oneshot(Request::put("/").body(Stalled).unwrap()).await.unwrap().status(), 408);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RejectStalledBody {
    pub(super) timeout: Duration,
}

impl RejectStalledBody {
    /// Limits the wait for each 1 KiB of a body, or for its end, to `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for RejectStalledBody {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
