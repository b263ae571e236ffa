use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{KeyExtractor, PathKey};
use crate::{
    body::Body,
    error::{BoxError, Result},
    reject::ResponseFuture,
};

/// Service of [`ExtractKey`](super::ExtractKey).
pub struct ExtractKeyService<S, K: ?Sized = PathKey> {
    pub(super) inner: S,
    pub(super) extractor: Arc<K>,
}

impl<S, K, B, ResBody> Service<Request<B>> for ExtractKeyService<S, K>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    K: KeyExtractor + ?Sized,
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
        let (mut parts, body) = request.into_parts();
        let extracted = if matches!(parts.method, Method::GET | Method::HEAD) {
            self.extractor.candidates(&parts).map(|candidates| {
                parts.extensions.insert(candidates.first().clone());
                parts.extensions.insert(candidates);
            })
        } else {
            self.extractor.key(&parts).map(|key| {
                parts.extensions.insert(key);
            })
        };
        match extracted {
            Ok(()) => ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body))),
            Err(error) => ResponseFuture::ready(error.into_response()),
        }
    }
}

impl<S: Clone, K: ?Sized> Clone for ExtractKeyService<S, K> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            extractor: Arc::clone(&self.extractor),
        }
    }
}

impl<S: fmt::Debug, K: ?Sized> fmt::Debug for ExtractKeyService<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractKeyService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
