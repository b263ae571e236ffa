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

use super::{End, body::Observed, event::Record};
use crate::{body::Body, error::BoxError, outcome::Outcome};

/// Future of [`ObserveService`](super::ObserveService).
#[pin_project]
pub struct ObserveFuture<F> {
    #[pin]
    inner: F,
    record: Option<Record>,
}

impl<F> ObserveFuture<F> {
    pub(super) fn new(inner: F, record: Record) -> Self {
        Self {
            inner,
            record: Some(record),
        }
    }
}

impl<F, E, ResBody> Future for ObserveFuture<F>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answered = ready!(this.inner.poll(cx));
        let Some(mut record) = this.record.take() else {
            return Poll::Ready(answered.map(|response| response.map(Body::new)));
        };
        Poll::Ready(match answered {
            Ok(response) => {
                record.status = Some(response.status());
                record.outcome = response.extensions().get::<Outcome>().cloned();
                Ok(response.map(|body| Body::new(Observed::new(Body::new(body), record))))
            }
            Err(error) => {
                record.end = End::Failed;
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for ObserveFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveFuture").finish_non_exhaustive()
    }
}
