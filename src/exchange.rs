//! [`Exchange`]: the trait behind every layer that works on the response to a request, and the one service that calls
//! it.

use std::{
    fmt,
    future::Future,
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
    error::{BoxError, Result},
};

/// Follows a request to its response, and may change both.
///
/// The layers of this crate that work on responses implement it. [`ExchangeService`] does the rest. A layer that leaves
/// responses alone implements [`Rewrite`](crate::rewrite::Rewrite) instead.
///
/// ```
/// use std::time::Instant;
///
/// use http::{Request, Response};
/// use kazoo_storage::{Body, exchange::{Begun, Exchange, ExchangeService, Finish}};
/// use tower::{ServiceExt, service_fn};
///
/// /// Adds the duration of a request to its response.
/// #[derive(Clone, Debug)]
/// struct Time;
///
/// #[derive(Debug)]
/// struct Since(Instant);
///
/// impl<B> Exchange<B> for Time {
///     type Body = B;
///     type Finish = Since;
///
///     fn begin(&self, request: Request<B>) -> Begun<B, Since> {
///         Begun::Request(request, Some(Since(Instant::now())))
///     }
/// }
///
/// impl Finish for Since {
///     fn finish(self, mut response: Response<Body>) -> Response<Body> {
///         response.headers_mut().insert("x-seconds", self.0.elapsed().as_secs().into());
///         response
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ExchangeService::new(Time, service_fn(async |_: Request<Body>| {
///     Ok::<_, std::convert::Infallible>(Response::new(Body::empty()))
/// }));
/// let response = service.oneshot(Request::put("/").body(Body::empty()).unwrap()).await.unwrap();
/// assert_eq!(response.headers()["x-seconds"], "0");
/// # });
/// ```
pub trait Exchange<B> {
    /// The body of the request that the inner service receives.
    type Body;

    /// The state that a request keeps until its response.
    type Finish: Finish;

    /// Begins the exchange of `request`.
    fn begin(&self, request: Request<B>) -> Begun<Self::Body, Self::Finish>;
}

/// The result of [`Exchange::begin`].
#[derive(Debug)]
pub enum Begun<B, F> {
    /// The inner service receives this request. `F` finishes the response; with `None` it is passed on as is.
    Request(Request<B>, Option<F>),
    /// The client receives this response. The inner service is not called.
    Response(Response<Body>),
}

/// Finishes the response to one request.
pub trait Finish: Sized {
    /// Waits until the response can be finished. The future of the inner service has been dropped.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Finishes the response of the inner service.
    fn finish(self, response: Response<Body>) -> Response<Body>;

    /// Handles the failure of the inner service.
    fn fail(self) {}
}

/// Service of the layers that implement [`Exchange`]; `L` is the layer.
#[derive(Clone, Debug)]
pub struct ExchangeService<L, S> {
    layer: L,
    inner: S,
}

impl<L, S> ExchangeService<L, S> {
    /// Follows the requests to `inner`.
    pub fn new(layer: L, inner: S) -> Self {
        Self { layer, inner }
    }
}

impl<L, S, B, ResBody> Service<Request<B>> for ExchangeService<L, S>
where
    L: Exchange<B>,
    S: Service<Request<L::Body>, Response = Response<ResBody>>,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = ExchangeFuture<S::Future, L::Finish>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.layer.begin(request) {
            Begun::Request(request, finish) => ExchangeFuture {
                state: State::Inner(self.inner.call(request)),
                finish,
            },
            Begun::Response(response) => ExchangeFuture {
                state: State::Answered(Some(response)),
                finish: None,
            },
        }
    }
}

/// Future of [`ExchangeService`].
#[pin_project]
pub struct ExchangeFuture<F, P> {
    #[pin]
    state: State<F>,
    finish: Option<P>,
}

#[pin_project(project = StateProj)]
enum State<F> {
    Inner(#[pin] F),
    Answered(Option<Response<Body>>),
}

impl<F, P, E, ResBody> Future for ExchangeFuture<F, P>
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    P: Finish,
    ResBody: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Inner(inner) => match ready!(inner.poll(cx)) {
                    Ok(response) => this.state.set(State::Answered(Some(response.map(Body::new)))),
                    Err(error) => {
                        if let Some(finish) = this.finish.take() {
                            finish.fail();
                        }
                        return Poll::Ready(Err(error));
                    }
                },
                StateProj::Answered(response) => {
                    if let Some(finish) = this.finish {
                        ready!(finish.poll_ready(cx));
                    }
                    let response = response.take().unwrap_or_default();
                    return Poll::Ready(Ok(match this.finish.take() {
                        Some(finish) => finish.finish(response),
                        None => response,
                    }));
                }
            }
        }
    }
}

impl<F, P> fmt::Debug for ExchangeFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeFuture").finish_non_exhaustive()
    }
}
