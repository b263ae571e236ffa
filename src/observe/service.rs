use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{
    End, Events, ObserveFuture, Started,
    counted::{BytesIn, Counted},
    event::Record,
    request_id::RequestId,
};
use crate::{body::Body, error::BoxError, probe::Probe};

/// Service of [`Observe`](super::Observe).
#[derive(Clone)]
pub struct ObserveService<S> {
    pub(super) inner: S,
    pub(super) events: Arc<dyn Events>,
}

impl<S, B, ResBody> Service<Request<B>> for ObserveService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ObserveFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let bytes_in = BytesIn::default();
        let record = Record {
            events: Arc::clone(&self.events),
            request_id: RequestId::of(request.headers()),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            probe: Probe::is_named_by(request.uri()),
            started: Instant::now(),
            status: None,
            outcome: None,
            bytes_in: bytes_in.clone(),
            bytes_out: 0,
            end: End::Disconnected,
            error: None,
        };
        self.events.started(&Started {
            request_id: record.request_id.as_str(),
            method: &record.method,
            path: &record.path,
        });
        let request = request.map(|body| Counted::over(Body::new(body), bytes_in));
        ObserveFuture::new(self.inner.call(request), record)
    }
}

impl<S: fmt::Debug> fmt::Debug for ObserveService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObserveService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
