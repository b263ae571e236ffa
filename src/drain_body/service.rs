use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{DrainBody, DrainBodyFuture, body::Shared};
use crate::{
    body::Body,
    error::{BoxError, Result},
};

/// Service of [`DrainBody`].
#[derive(Clone, Debug)]
pub struct DrainBodyService<S> {
    pub(super) inner: S,
    pub(super) layer: DrainBody,
}

impl<S, B, ResBody> Service<Request<B>> for DrainBodyService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = DrainBodyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let body = Body::new(body);
        if body.is_end_stream() {
            return DrainBodyFuture::new(self.inner.call(Request::from_parts(head, body)), None);
        }
        let version = head.version;
        let shared = Shared::new(body, expects_continue(&head.headers), self.layer.max);
        let request = Request::from_parts(head, shared.lend());
        DrainBodyFuture::new(self.inner.call(request), Some((shared, version)))
    }
}

/// Returns `true` if the client sends the body only once it is read.
fn expects_continue(headers: &HeaderMap) -> bool {
    // hyper uses the last value.
    let expect = headers.get_all(header::EXPECT).iter().next_back();
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
