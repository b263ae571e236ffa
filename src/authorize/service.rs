use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::Authorizer;
use crate::{
    body::Body,
    error::BoxError,
    reject::{ResponseFuture, take_ready},
};

/// Service of [`Authorize`](super::Authorize).
pub struct AuthorizeService<S, A> {
    pub(super) inner: S,
    pub(super) authorizer: Arc<A>,
}

impl<S, A, B, ResBody> Service<Request<B>> for AuthorizeService<S, A>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    A: Authorizer,
    B: Send + 'static,
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
        let mut inner = take_ready(&mut self.inner);
        let authorizer = Arc::clone(&self.authorizer);
        ResponseFuture::work(async move {
            let (mut parts, body) = request.into_parts();
            match authorizer.authorize(&mut parts).await {
                Ok(grant) => {
                    parts.extensions.insert(grant);
                    let response = inner.call(Request::from_parts(parts, body)).await?;
                    Ok(response.map(Body::new))
                }
                Err(error) => Ok(error.into_response()),
            }
        })
    }
}

impl<S: Clone, A> Clone for AuthorizeService<S, A> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            authorizer: Arc::clone(&self.authorizer),
        }
    }
}

impl<S: fmt::Debug, A> fmt::Debug for AuthorizeService<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
