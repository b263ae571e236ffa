use std::sync::Arc;

use tower_layer::Layer;

use super::permit::Requests;
use crate::exchange::ExchangeService;

/// Layer that limits the number of concurrent requests, and asks the clients of the others to retry.
///
/// [`LimitConcurrency`] answers a request over the limit at once with 503 and a `Retry-After` of one second: KAZOO's
/// client waits and sends the same request again, so a burst is spread over time. [`RetryAfter`](crate::RetryAfter) in front
/// limits how long a request is retried, to an hour by default; after that, KAZOO may give it up. A request
/// counts until its response has been sent, or is dropped.
///
/// - [`per_client`](LimitConcurrency::per_client) limits the requests of one client, so that a few clients cannot take
///   all permits.
/// - At the limit, a waiting upload that arrives at less than 4 KiB/s yields its permit to the new request and is
///   answered with 503 and `Retry-After` too. This requires
///   [`RejectStalledBody`](crate::RejectStalledBody) in front.
/// - KAZOO's credentials probe needs no permit. An administrator waits for its response, and it costs nothing. The
///   layer recognizes a probe by its [`BlobKey`](crate::BlobKey), so it belongs behind
///   [`ExtractKey`](crate::ExtractKey).
///
/// Clones and their services share one limit.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use kazoo_storage::{Body, LimitConcurrency};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(LimitConcurrency::new(1)).service(service_fn(
///     async |_: Request<Body>| Ok::<_, std::convert::Infallible>(Response::new(Body::from("a file"))),
/// ));
/// let send = async || service.clone().oneshot(Request::put("/").body(Body::empty()).unwrap()).await.unwrap();
/// let first = send().await;
/// let second = send().await;
/// assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
/// assert_eq!(second.headers()["retry-after"], "1");
/// drop(first);
/// assert_eq!(send().await.status(), StatusCode::OK);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct LimitConcurrency {
    pub(super) requests: Arc<Requests>,
}

impl LimitConcurrency {
    /// Allows `max` concurrent requests.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            requests: Requests::new(max, usize::MAX),
        }
    }

    /// Allows `requests` concurrent requests of one client; by default, only the overall limit applies.
    ///
    /// The client is identified by its [`ClientAddr`](crate::client_addr::ClientAddr), or else by its
    /// [`PeerAddr`](crate::PeerAddr). A request with neither extension counts only toward the overall limit. Set this
    /// before the layer is cloned.
    #[must_use]
    pub fn per_client(mut self, requests: usize) -> Self {
        self.requests = self.requests.per_client(requests);
        self
    }
}

impl<S> Layer<S> for LimitConcurrency {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}
