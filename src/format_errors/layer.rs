use std::fmt;

use http::Response;
use tower_layer::Layer;

use crate::{body::Body, error::Error, exchange::ExchangeService};

/// Layer that replaces the format of every [`Error`] of this crate, in one place.
///
/// Every layer and `ServeBlobs` describe an error as [a small JSON object](crate::Error::to_json). [`FormatErrors`]
/// calls a function with each [`Error`](crate::Error) and its response, and the function returns the response in the
/// format of the application. The layer belongs in front of all others, or of the complete service. It finds the
/// error in the response's [`Outcome::Failed`](crate::Outcome::Failed), and preserves it for layers further out.
/// Responses without one pass unchanged, such as a router's 404.
///
/// KAZOO shows the response to the administrator who saves the storage settings, if
///
/// - the body is a flat JSON object: strings and numbers, no nested objects;
/// - the `content-type` is exactly `application/json`, without a charset and in lower case;
/// - KAZOO's client knows the status. An unknown one crashes it: keep the [status](crate::ErrorKind::status).
///
/// Change the response instead of making a new one, because its other headers have a meaning: `retry-after`,
/// `www-authenticate`, `content-range`, `allow` and `connection`.
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use http_body_util::BodyExt as _;
/// use kazoo_storage::{Body, Error, FormatErrors, KazooStorage, MemoryStore};
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let format = FormatErrors::new(|error: &Error, response: Response<Body>| {
///     let json = serde_json::json!({ "code": error.kind().as_str(), "detail": error.message() });
///     response.map(|_| json.to_string().into())
/// });
/// let storage = ServiceBuilder::new().layer(format).service(KazooStorage::new(MemoryStore::new()).into_service());
///
/// let fetch = Request::get("/ACCOUNT/DOCUMENT/message.mp3").body(Body::empty()).unwrap();
/// let response = storage.oneshot(fetch).await.unwrap();
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// assert_eq!(response.headers()["content-type"], "application/json");
/// let body = response.into_body().collect().await.unwrap().to_bytes();
/// assert!(body.starts_with(br#"{"code":"not_found","detail":"#));
/// # });
/// ```
#[derive(Clone)]
pub struct FormatErrors<F> {
    pub(super) format: F,
}

impl<F: Fn(&Error, Response<Body>) -> Response<Body>> FormatErrors<F> {
    /// Passes the response to each error through `format`.
    pub fn new(format: F) -> Self {
        Self { format }
    }
}

impl<F: Clone, S> Layer<S> for FormatErrors<F> {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}

impl<F> fmt::Debug for FormatErrors<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormatErrors").finish_non_exhaustive()
    }
}
