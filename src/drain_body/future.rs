use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, Version, header};
use http_body::Body as HttpBody;
use pin_project::pin_project;

use super::body::Shared;
use crate::{body::Body, error::BoxError};

/// Future of [`DrainBodyService`](super::DrainBodyService): holds the response back until the body is read.
#[pin_project]
pub struct DrainBodyFuture<F> {
    /// Dropped once it has completed, together with its half of the body.
    #[pin]
    inner: Option<F>,
    response: Option<Response<Body>>,
    /// The request's body and its version of HTTP; `None` if there is no body.
    unread: Option<(Shared, Version)>,
}

impl<F> DrainBodyFuture<F> {
    pub(super) fn new(inner: F, unread: Option<(Shared, Version)>) -> Self {
        Self {
            inner: Some(inner),
            response: None,
            unread,
        }
    }
}

impl<F, E, ResBody> Future for DrainBodyFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let response = ready!(inner.poll(cx))?.map(Body::new);
            this.inner.set(None);
            *this.response = Some(response);
        }
        let is_reusable = match this.unread {
            // HTTP/2 resets the stream alone.
            Some((body, version)) => ready!(body.poll_drain(cx)) || *version > Version::HTTP_11,
            None => true,
        };
        let mut response = this.response.take().unwrap_or_default();
        if !is_reusable {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response))
    }
}

impl<F> fmt::Debug for DrainBodyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainBodyFuture").finish_non_exhaustive()
    }
}
