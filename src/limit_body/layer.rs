use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that limits the length of request bodies.
///
/// [`LimitBody`] answers a request whose declared length exceeds the limit with 413. A body without a declared length
/// ends with [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge) after the limit, and never cleanly; its handler
/// answers with the same 413. The layer does not buffer the body.
///
/// If the request has a [`Grant`](crate::Grant) with a smaller limit, that limit applies. The layer therefore
/// belongs behind [`Authorize`](crate::Authorize), which reads no body.
///
/// The response may be ready before the client has sent the whole body: put [`DrainBody`](crate::DrainBody) in front.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{BodyExt, Full};
/// use kazoo_storage::{Body, LimitBody};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = ServiceBuilder::new().layer(LimitBody::new(4)).service(service_fn(
///     async |request: Request<Body>| {
///         Ok::<_, std::convert::Infallible>(match request.into_body().collect().await {
///             Ok(body) => Response::new(Body::from(body.to_bytes())),
///             Err(error) => error.to_response(),
///         })
///     },
/// ));
/// let send = async |text| service.clone().oneshot(Request::put("/").body(Full::<Bytes>::from(text)).unwrap()).await;
/// assert_eq!(send("four").await.unwrap().status(), StatusCode::OK);
/// assert_eq!(send("fives").await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LimitBody {
    pub(super) max: u64,
}

impl LimitBody {
    /// Limits bodies to `max` bytes.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self { max }
    }
}

impl<S> Layer<S> for LimitBody {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
