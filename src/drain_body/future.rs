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

/// Future of [`LimitBodyService`](super::LimitBodyService): the inner answer, held back until the body is read or
/// drained.
#[pin_project]
pub struct LimitBodyFuture<F> {
    /// Gone as soon as it has answered, and the body it held with it.
    #[pin]
    inner: Option<F>,
    answer: Option<Response<Body>>,
    unread: Option<Unread>,
}

struct Unread {
    body: Shared,
    bound: u64,
    version: Version,
}

impl<F> LimitBodyFuture<F> {
    pub(super) fn inner(inner: F) -> Self {
        Self {
            inner: Some(inner),
            answer: None,
            unread: None,
        }
    }

    pub(super) fn limited(inner: F, body: Shared, bound: u64, version: Version) -> Self {
        Self {
            inner: Some(inner),
            answer: None,
            unread: Some(Unread { body, bound, version }),
        }
    }

    pub(super) fn refused(answer: Response<Body>, body: Shared, bound: u64, version: Version) -> Self {
        Self {
            inner: None,
            answer: Some(answer),
            unread: Some(Unread { body, bound, version }),
        }
    }
}

impl<F, E, ResBody> Future for LimitBodyFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut() {
            let answer = ready!(inner.poll(cx))?.map(Body::new);
            this.inner.set(None);
            *this.answer = Some(answer);
        }
        let ended = match this.unread {
            Some(Unread { body, bound, .. }) => ready!(body.poll_drain(cx, bound)),
            None => true,
        };
        let mut answer = this.answer.take().unwrap_or_default();
        // HTTP/2 resets the one stream; a 1.x connection has to be closed over the rest of the body.
        if !ended
            && this
                .unread
                .as_ref()
                .is_some_and(|unread| unread.version <= Version::HTTP_11)
        {
            answer
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(answer))
    }
}

impl<F> fmt::Debug for LimitBodyFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LimitBodyFuture").finish_non_exhaustive()
    }
}
