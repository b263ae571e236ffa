//! [`Rewrite`]: the trait behind every layer that only changes requests or answers them, and the one service that calls
//! it.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    body::Body,
    error::{BoxError, Error, Result},
};

/// Turns a request into the request for the inner service, or into a response.
///
/// The layers of this crate that leave responses alone implement it. [`RewriteService`] does the rest.
///
/// ```
/// use http::{Method, Request, Response};
/// use kazoo_storage::{Body, Error, ErrorKind, rewrite::{Rewrite, RewriteService, Rewritten}};
/// use tower::{ServiceExt, service_fn};
///
/// /// Rejects uploads without a body.
/// #[derive(Clone, Debug)]
/// struct RejectEmpty;
///
/// impl<B: http_body::Body> Rewrite<B> for RejectEmpty {
///     type Body = B;
///
///     fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
///         if request.method() == Method::PUT && request.body().is_end_stream() {
///             return Error::new(ErrorKind::InvalidRequest, "the body is empty: send the file").into();
///         }
///         Rewritten::Request(request)
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = RewriteService::new(RejectEmpty, service_fn(async |_: Request<Body>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
/// }));
/// for (method, body, status) in [("PUT", "ID3", 200), ("PUT", "", 400), ("GET", "", 200)] {
///     let request = Request::builder().method(method).body(Body::from(body)).unwrap();
///     assert_eq!(service.clone().oneshot(request).await.unwrap().status(), status);
/// }
/// # });
/// ```
pub trait Rewrite<B> {
    /// The body of the request that the inner service receives.
    type Body;

    /// Rewrites `request`.
    fn rewrite(&self, request: Request<B>) -> Rewritten<Self::Body>;
}

/// The result of [`Rewrite::rewrite`].
pub enum Rewritten<B> {
    /// The inner service receives this request.
    Request(Request<B>),
    /// The client receives this response. The inner service is not called.
    Response(Response<Body>),
    /// The rewriting takes time, because it reads the body or waits for something else.
    Later(Pin<Box<dyn Future<Output = Rewritten<B>> + Send>>),
}

impl<B> Rewritten<B> {
    /// Rewrites the request in a future.
    pub fn later<T: Into<Self>>(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Later(Box::pin(async move { future.await.into() }))
    }
}

impl<B> From<Error> for Rewritten<B> {
    fn from(error: Error) -> Self {
        Self::Response(error.to_response())
    }
}

impl<B> From<Result<Request<B>>> for Rewritten<B> {
    fn from(rewritten: Result<Request<B>>) -> Self {
        rewritten.map_or_else(Self::from, Self::Request)
    }
}

impl<B> fmt::Debug for Rewritten<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request(_) => "Request",
            Self::Response(_) => "Response",
            Self::Later(_) => "Later",
        })
    }
}

/// Service of the layers that implement [`Rewrite`]; `R` is the layer.
///
/// It calls the inner instance that `poll_ready` made ready, even if the rewriting takes time.
#[derive(Clone)]
pub struct RewriteService<R, S> {
    rewrite: R,
    inner: S,
}

impl<R, S> RewriteService<R, S> {
    /// Rewrites the requests to `inner`.
    pub fn new(rewrite: R, inner: S) -> Self {
        Self { rewrite, inner }
    }
}

impl<R, S, B, ResBody> Service<Request<B>> for RewriteService<R, S>
where
    R: Rewrite<B>,
    S: Service<Request<R::Body>, Response = Response<ResBody>> + Clone,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RewriteFuture<S, R::Body>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        RewriteFuture(match self.rewrite.rewrite(request) {
            Rewritten::Request(request) => State::Inner(self.inner.call(request)),
            Rewritten::Response(response) => State::Answered(Some(response)),
            Rewritten::Later(rewriting) => State::Rewriting(rewriting, take_ready(&mut self.inner)),
        })
    }
}

impl<R: fmt::Debug, S: fmt::Debug> fmt::Debug for RewriteService<R, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewriteService")
            .field("layer", &self.rewrite)
            .field("inner", &self.inner)
            .finish()
    }
}

/// Future of [`RewriteService`].
#[pin_project]
pub struct RewriteFuture<S: Service<Request<B>>, B>(#[pin] State<S, B>);

#[pin_project(project = StateProj)]
enum State<S: Service<Request<B>>, B> {
    Rewriting(Pin<Box<dyn Future<Output = Rewritten<B>> + Send>>, S),
    Inner(#[pin] S::Future),
    Answered(Option<Response<Body>>),
}

impl<S, B, ResBody> Future for RewriteFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().0;
        loop {
            match state.as_mut().project() {
                StateProj::Rewriting(rewriting, inner) => match ready!(rewriting.as_mut().poll(cx)) {
                    Rewritten::Request(request) => {
                        let future = inner.call(request);
                        state.set(State::Inner(future));
                    }
                    Rewritten::Response(response) => return Poll::Ready(Ok(response)),
                    Rewritten::Later(later) => *rewriting = later,
                },
                StateProj::Inner(future) => {
                    return Poll::Ready(ready!(future.poll(cx)).map(|response| response.map(Body::new)));
                }
                StateProj::Answered(response) => return Poll::Ready(Ok(response.take().unwrap_or_default())),
            }
        }
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for RewriteFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewriteFuture").finish_non_exhaustive()
    }
}

/// Takes the service that `poll_ready` made ready, and leaves a clone in its place.
///
/// A clone need not be ready, so it is never the clone that is called.
pub(crate) fn take_ready<S: Clone>(service: &mut S) -> S {
    let clone = service.clone();
    mem::replace(service, clone)
}
