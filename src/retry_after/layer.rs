use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::window::Window;
use crate::exchange::ExchangeService;

/// Layer that decides which responses ask the client to retry, and for how long.
///
/// KAZOO's client repeats a request that is answered with 503 and `Retry-After`, without limit, and its caller waits.
/// That saves an upload while the store or the server is briefly unavailable. The layers and stores of this crate
/// therefore set `Retry-After` on every error that a retry can cure
/// ([`Error::retry_after`](crate::Error::retry_after)), and [`RetryAfter`] removes it where a retry does harm:
///
/// - from the responses to a request that has failed for longer than the window, an hour by default, so that no KAZOO
///   process waits forever;
/// - from the responses to the credentials probe, because an administrator waits for them.
///
/// A request is identified by what KAZOO repeats exactly: the method, the target, and the type and length of the body. Its
/// series of failures ends with a success or a redirect, or after a time without a failure: the window, or ten minutes if
/// they are longer. Any other response, such as a 4xx,
/// neither continues nor ends the series, because a client without access can cause it.
///
/// The layer belongs outside of every layer whose responses it decides on, and inside of [`Observe`](crate::Observe),
/// so that an event shows the response that was sent. Of several such layers around a service, only the outermost
/// decides.
///
/// The table of failing requests has a fixed size, 1 MiB. When it is full, the requests without a slot share one window: they are answered
/// with `Retry-After` until it ends, and then without, until the shared window has been unused for ten minutes. A flood
/// of failing requests can therefore make others give up early, but never makes them retry forever.
///
/// Clones share one table of failing requests.
///
/// ```
/// use std::time::Duration;
///
/// use http::{Request, header};
/// use kazoo_storage::{Body, Error, ErrorKind, RetryAfter};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(RetryAfter::new(Duration::ZERO)).service(service_fn(
///     async |_: Request<Body>| {
///         Ok::<_, std::convert::Infallible>(Error::new(ErrorKind::Unavailable, "the disk is offline").to_response())
///     },
/// ));
/// let retries = async |target: &str| {
///     let response = service.clone().oneshot(Request::put(target).body(Body::empty()).unwrap()).await.unwrap();
///     response.headers().contains_key(header::RETRY_AFTER)
/// };
/// assert!(retries("/ACC/DOC/first.mp3").await);
/// assert!(!retries("/ACC/DOC/first.mp3").await);
/// assert!(retries("/ACC/DOC/second.mp3").await);
/// assert!(!retries("/ACC/DOC/7f3c2a90b1d4e6f8a0c2e4f618293a4b_test_credentials_file.txt").await);
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct RetryAfter {
    pub(super) window: Arc<Window>,
}

impl RetryAfter {
    /// Default duration for which a failing request is answered with `Retry-After`: an hour.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60 * 60);

    /// Answers a failing request with `Retry-After` for `window`, from its first failure on.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window: Arc::new(Window::new(window)),
        }
    }
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self::new(Self::DEFAULT_WINDOW)
    }
}

impl<S> Layer<S> for RetryAfter {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}
