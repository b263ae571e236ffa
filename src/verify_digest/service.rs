use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{body::Verified, fields::declared};
use crate::{
    body::Body,
    error::{BoxError, Result},
    framing::guard,
    reject::ResponseFuture,
};

/// Service of [`VerifyDigest`](super::VerifyDigest).
#[derive(Clone, Debug)]
pub struct VerifyDigestService<S> {
    pub(super) inner: S,
}

impl<S, B, ResBody> Service<Request<B>> for VerifyDigestService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !matches!(*request.method(), Method::PUT | Method::POST) {
            return ResponseFuture::inner(self.inner.call(request.map(Body::new)));
        }
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body);
        let request = Request::from_parts(head, body);
        match declared(request.headers()) {
            Ok(checks) if checks.is_empty() => ResponseFuture::inner(self.inner.call(request)),
            Ok(checks) => {
                let request = request.map(|body| Body::new(Verified::new(body, checks)));
                ResponseFuture::inner(self.inner.call(request))
            }
            Err(error) => ResponseFuture::ready(error.into_response()),
        }
    }
}
