//! From an [`Error`] to an answer, and what every layer's service shares.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body::Body as HttpBody;
use pin_project::pin_project;
use serde_json::json;

use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
    outcome::Outcome,
};

impl Error {
    /// What a client is told of this error: a small JSON object with `error` (the kind), `message` and `status`.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({
            "error": self.kind().as_str(),
            "message": self.message(),
            "status": self.status().as_u16(),
        })
        .to_string()
    }

    /// The answer for this error: its status and [what a client is told](Self::to_json).
    ///
    /// KAZOO shows the object to the administrator, decoded, only if the `content-type` is exactly
    /// `application/json`. The error itself travels along as [`Outcome::Failed`].
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.to_json()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.kind() == ErrorKind::Unauthorized {
            let challenge = HeaderValue::from_static("Basic realm=\"storage\", charset=\"UTF-8\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(delay) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response.extensions_mut().insert(Outcome::Failed { error: self });
        response
    }
}

/// Takes the service that `poll_ready` made ready, and leaves a clone in its place.
///
/// A clone need not be ready, so it is never the clone that is called.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}

/// The future of every service in this crate: the inner service's own, an answer known at once, or work of the
/// layer that ends in calling the inner service.
#[pin_project]
pub struct ResponseFuture<F, E>(#[pin] Kind<F, E>);

type Work<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

#[pin_project(project = KindProj)]
enum Kind<F, E> {
    Inner(#[pin] F),
    Work(Work<E>),
    Ready(Option<Response<Body>>),
}

impl<F, E> ResponseFuture<F, E> {
    /// Passes the inner service's answer on.
    pub(crate) fn inner(future: F) -> Self {
        Self(Kind::Inner(future))
    }

    /// Does the layer's own work, which calls the inner service or does not.
    pub(crate) fn work(work: impl Future<Output = Result<Response<Body>, E>> + Send + 'static) -> Self {
        Self(Kind::Work(Box::pin(work)))
    }

    /// Answers at once.
    pub(crate) fn ready(response: Response<Body>) -> Self {
        Self(Kind::Ready(Some(response)))
    }
}

impl<F, E, ResBody> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().0.project() {
            KindProj::Inner(future) => Poll::Ready(ready!(future.poll(cx)).map(|response| response.map(Body::new))),
            KindProj::Work(work) => work.as_mut().poll(cx),
            KindProj::Ready(response) => Poll::Ready(Ok(response.take().unwrap_or_default())),
        }
    }
}

impl<F, E> std::fmt::Debug for ResponseFuture<F, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
