use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, request::Parts};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{KeyExtractor, PathKey};
use crate::{
    body::Body,
    error::{BoxError, Result},
    grant::Grant,
    key::{BlobKey, Candidates},
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
        match extract(&*self.extractor, &mut parts) {
            Ok(()) => ResponseFuture::inner(self.inner.call(Request::from_parts(parts, body))),
            Err(error) => ResponseFuture::ready(error.into_response()),
        }
    }
}

/// Puts the key among the extensions, and on a fetch the candidates; those that the [`Grant`] covers, if there is one.
fn extract<K: KeyExtractor + ?Sized>(extractor: &K, parts: &mut Parts) -> Result<()> {
    let fetch = matches!(parts.method, Method::GET | Method::HEAD);
    let grant = parts.extensions.get::<Grant>().cloned();
    grant.as_ref().map_or(Ok(()), |grant| grant.check(fetch))?;
    let covered = |key: &BlobKey| grant.as_ref().is_none_or(|grant| grant.covers(key));
    if fetch {
        let mut candidates = extractor.candidates(parts)?;
        if grant.is_some() {
            let mut of_grant = candidates.iter().filter(|key| covered(key)).cloned();
            let first = of_grant.next().ok_or_else(Grant::outside)?;
            candidates = Candidates::new(first, of_grant.collect::<Vec<_>>());
        }
        parts.extensions.insert(candidates.first().clone());
        parts.extensions.insert(candidates);
    } else {
        let key = extractor.key(parts)?;
        if !covered(&key) {
            return Err(Grant::outside());
        }
        parts.extensions.insert(key);
    }
    Ok(())
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
