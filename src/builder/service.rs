use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use crate::{
    body::Body,
    error::{BoxError, Result},
};

/// KAZOO's storage backend as one service, for any request body; built by [`KazooStorage`](crate::KazooStorage).
///
/// It never fails: every error is a response.
#[derive(Clone)]
pub struct StorageService(BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>);

impl StorageService {
    pub(super) fn new<S>(stack: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(stack))
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Service<Request<B>> for StorageService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call(request.map(Body::new))
    }
}

impl fmt::Debug for StorageService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageService").finish_non_exhaustive()
    }
}
