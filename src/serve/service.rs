use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header, request};
use http_body::Body as HttpBody;
use tower_service::Service;

use super::{fetch::fetch, store::store};
use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    framing::guard,
    key::BlobKey,
    store::BlobStore,
};

/// Service that stores and fetches the files of a [`BlobStore`].
///
/// It expects the key among the request's extensions, where [`ExtractKey`](crate::ExtractKey) inserts it, and the
/// [`Metadata`](crate::Metadata), if any, where [`SplitMultipart`](crate::SplitMultipart) inserts it. See the
/// [module](crate::serve).
pub struct ServeBlobs<S> {
    store: Arc<S>,
}

impl<S: BlobStore> ServeBlobs<S> {
    /// Serves the files of `store`.
    pub fn new(store: S) -> Self {
        Self { store: Arc::new(store) }
    }
}

impl<S: BlobStore, B> Service<Request<B>> for ServeBlobs<S>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let store = Arc::clone(&self.store);
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body);
        Box::pin(async move {
            Ok(answer(&*store, head, body)
                .await
                .unwrap_or_else(|error| error.to_response()))
        })
    }
}

impl<S> Clone for ServeBlobs<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
        }
    }
}

impl<S> fmt::Debug for ServeBlobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeBlobs").finish_non_exhaustive()
    }
}

async fn answer<S: BlobStore>(blobs: &S, head: request::Parts, body: Result<Body>) -> Result<Response<Body>> {
    let key = head.extensions.get::<BlobKey>().cloned().ok_or_else(|| {
        let message = "the request has no BlobKey among its extensions; put ExtractKey in front of ServeBlobs";
        Error::new(ErrorKind::Internal, message)
    })?;
    match head.method {
        Method::PUT | Method::POST => store(blobs, &key, head, body?).await,
        Method::GET | Method::HEAD => fetch(blobs, &head).await,
        _ => Ok(method_not_allowed()),
    }
}

fn method_not_allowed() -> Response<Body> {
    let message = "the method is not supported; KAZOO stores with PUT or POST and fetches with GET";
    let mut response = Error::new(ErrorKind::MethodNotAllowed, message).to_response();
    let allow = HeaderValue::from_static("GET, HEAD, PUT, POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}
