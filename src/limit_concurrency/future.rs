use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Response;
use http_body::Body as HttpBody;
use pin_project::pin_project;

use super::{body::PermitBody, permit::Permit};
use crate::{body::Body, error::BoxError};

/// Future of [`LimitConcurrencyService`](super::LimitConcurrencyService): the inner response, or the refusal.
#[pin_project]
pub struct LimitConcurrencyFuture<F> {
    #[pin]
    inner: Option<F>,
    refusal: Option<Response<Body>>,
    permit: Option<Permit>,
}

impl<F> LimitConcurrencyFuture<F> {
    /// Calls the inner service. A credentials probe has no permit.
    pub(super) fn admitted(inner: F, permit: Option<Permit>) -> Self {
        Self {
            inner: Some(inner),
            refusal: None,
            permit,
        }
    }

    pub(super) fn refused(refusal: Response<Body>) -> Self {
        Self {
            inner: None,
            refusal: Some(refusal),
            permit: None,
        }
    }
}

impl<F, E, ResBody> Future for LimitConcurrencyFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Ok(this.refusal.take().unwrap_or_default()));
        };
        let response = ready!(inner.poll(cx))?.map(Body::new);
        Poll::Ready(Ok(match this.permit.take() {
            // The server does not poll a body that is already at its end.
            Some(permit) if !response.body().is_end_stream() => {
                response.map(|body| Body::new(PermitBody::new(body, permit)))
            }
            _ => response,
        }))
    }
}

impl<F> fmt::Debug for LimitConcurrencyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitConcurrencyFuture").finish_non_exhaustive()
    }
}
