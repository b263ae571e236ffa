use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body::Body as HttpBody;
use pin_project::pin_project;

use super::window::Window;
use crate::{body::Body, error::BoxError, outcome::Outcome, probe::Probe};

/// Future of [`RetryAfterService`](super::RetryAfterService).
#[pin_project]
pub struct RetryAfterFuture<F> {
    #[pin]
    inner: F,
    /// `None` if an outer layer decides.
    decision: Option<Decision>,
}

/// The facts about a request that decide on `Retry-After`.
pub(super) struct Decision {
    pub(super) id: u64,
    pub(super) is_probe: bool,
    pub(super) window: Arc<Window>,
}

impl Decision {
    /// Removes `Retry-After` from `response` unless the client is to retry.
    fn apply(self, response: &mut Response<Body>) {
        let status = response.status();
        if status != StatusCode::SERVICE_UNAVAILABLE {
            // A client without access can cause other responses, also to a request that imitates another client's.
            if status.is_success() || status.is_redirection() {
                self.window.succeeded(self.id);
            }
            return;
        }
        if !response.headers().contains_key(header::RETRY_AFTER) {
            return;
        }
        // The name of a probe may be in the metadata, where only the layer that answers it finds it.
        let is_probe = self.is_probe || response.extensions().get::<Probe>().is_some();
        if !is_probe && self.window.failed(self.id) {
            return;
        }
        response.headers_mut().remove(header::RETRY_AFTER);
        if let Some(Outcome::Failed { error }) = response.extensions_mut().get_mut() {
            *error = error.clone().with_retry_after(None);
        }
    }
}

impl<F> RetryAfterFuture<F> {
    pub(super) fn new(inner: F, decision: Option<Decision>) -> Self {
        Self { inner, decision }
    }
}

impl<F, E, ResBody> Future for RetryAfterFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?.map(Body::new);
        if let Some(decision) = this.decision.take() {
            decision.apply(&mut response);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for RetryAfterFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfterFuture").finish_non_exhaustive()
    }
}
