use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{
    LimitBody, LimitBodyFuture,
    body::{Shared, too_large},
    framing::doubt,
};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
    framing::{declared_len, guard},
    progress::Progress,
};

/// Service of [`LimitBody`].
#[derive(Clone, Debug)]
pub struct LimitBodyService<S> {
    pub(super) inner: S,
    pub(super) limits: LimitBody,
}

impl<S, B, ResBody> Service<Request<B>> for LimitBodyService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ResBody: HttpBody<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = LimitBodyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let limits = self.limits;
        let LimitBody { max, drain, .. } = limits;
        let version = request.version();
        let (mut parts, body) = request.into_parts();
        let awaited = parts
            .headers
            .get_all(header::EXPECT)
            .iter()
            // hyper uses the last one.
            .next_back()
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if let Some(doubt) = doubt(&parts) {
            let refusal = Error::new(ErrorKind::InvalidRequest, doubt).into_response();
            let unread = Shared::new(Body::new(body), limits, awaited, Progress::default()).doubtful();
            return LimitBodyFuture::refused(refusal, unread, drain, version);
        }
        let body = guard(&mut parts, body);
        if body.is_end_stream() {
            return LimitBodyFuture::inner(self.inner.call(Request::from_parts(parts, body)));
        }
        let declared = declared_len(&parts.headers).unwrap_or_else(|| body.size_hint().lower());
        let progress = Progress::default();
        let shared = Shared::new(body, limits, awaited, progress.clone());
        if declared > max {
            return LimitBodyFuture::refused(too_large(max).into_response(), shared, drain, version);
        }
        if limits.stall_timeout.is_some() {
            parts.extensions.insert(progress);
        }
        let request = Request::from_parts(parts, shared.lend());
        LimitBodyFuture::limited(self.inner.call(request), shared, drain, version)
    }
}
