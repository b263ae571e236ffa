use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
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
    retry::RetryWindow,
    store::BlobStore,
};

/// Service that stores and fetches the files of a [`BlobStore`].
///
/// It finds the key among the request's extensions, where [`ExtractKey`](crate::ExtractKey) puts it, and the
/// [`Metadata`](crate::Metadata), if any, where [`SplitMultipart`](crate::SplitMultipart) does. See the
/// [module](crate::serve).
pub struct ServeBlobs<S> {
    shared: Arc<Shared<S>>,
}

struct Shared<S> {
    store: S,
    retry: RetryWindow,
}

impl<S: BlobStore> ServeBlobs<S> {
    /// Serves the files of `store`.
    pub fn new(store: S) -> Self {
        Self::retrying(store, RetryWindow::default())
    }

    /// Serves the files of `store`; a key that keeps failing is answered with `Retry-After` for at most `window`, by
    /// default [`RetryWindow::DEFAULT`].
    pub fn with_retry_window(store: S, window: Duration) -> Self {
        Self::retrying(store, RetryWindow::new(window))
    }

    fn retrying(store: S, retry: RetryWindow) -> Self {
        Self {
            shared: Arc::new(Shared { store, retry }),
        }
    }
}

impl<S: BlobStore> Shared<S> {
    async fn answer(&self, head: request::Parts, body: Body) -> Response<Body> {
        let Some(key) = head.extensions.get::<BlobKey>().cloned() else {
            let message = "the request has no BlobKey among its extensions; put ExtractKey in front of ServeBlobs";
            return Error::new(ErrorKind::Internal, message).into_response();
        };
        let answered = match head.method {
            Method::PUT | Method::POST => store(&self.store, &key, head, body).await,
            Method::GET | Method::HEAD => fetch(&self.store, &head).await,
            _ => return method_not_allowed(),
        };
        match answered {
            Ok(response) => {
                self.retry.succeeded(&key);
                response
            }
            Err(error) => self.retry.bound(&key, error).into_response(),
        }
    }
}

fn method_not_allowed() -> Response<Body> {
    let message = "the method is not supported; KAZOO stores with PUT or POST and fetches with GET";
    let mut response = Error::new(ErrorKind::MethodNotAllowed, message).into_response();
    let allow = HeaderValue::from_static("GET, HEAD, PUT, POST");
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

impl<S, B> Service<Request<B>> for ServeBlobs<S>
where
    S: BlobStore,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let (mut head, body) = request.into_parts();
        let body = guard(&mut head, body);
        Box::pin(async move { Ok(shared.answer(head, body).await) })
    }
}

impl<S> Clone for ServeBlobs<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S> fmt::Debug for ServeBlobs<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeBlobs").finish_non_exhaustive()
    }
}
