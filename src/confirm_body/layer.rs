use tower_layer::Layer;

use crate::exchange::ExchangeService;

/// Layer that answers an upload with a success only if the handler has read its whole body.
///
/// The layers in front of a handler report an invalid upload, such as broken base64, through the body: it ends with an
/// error. A handler that ignores this error, or that answers without reading the body to its end, would acknowledge an
/// upload that it does not have. [`ConfirmBody`] belongs directly around the handler, behind all other layers. It
/// replaces the response to a PUT or POST
///
/// - with the response of the error, if the body ended with one, whatever the handler answered;
/// - with 500 and a message for the developer, if the handler answered before the end of the body with a success, or with
///   a redirect that turns the upload into a GET: 303, or 301 or 302 to a POST. KAZOO follows it without the file, and takes
///   the success of the GET for that of the upload.
///
/// Other responses pass unchanged, and so do those to requests without a body. KAZOO sends the upload again, to the new
/// URL, after a 307 to a POST, or a 301 or 302 with an absolute `location` to a PUT; it crashes on 303, 307 and 308 to a
/// PUT. The layer reads nothing itself, and holds nothing. A handler must finish reading before it answers: a task of
/// its own, or a response that streams the request's body, is too late.
///
/// With [`Base64::Detect`](crate::Base64::Detect), base64 that is broken in its first 1024 bytes is no error, but the
/// content. To refuse every multipart upload with broken media, use [`Base64::Declared`](crate::Base64::Declared).
///
/// ```
/// use axum::{Router, body::Body, routing::put};
/// use http::{Request, StatusCode};
/// use http_body_util::BodyExt as _;
/// use kazoo_storage::{Base64, ConfirmBody, DecodeBase64, metadata::MediaPart};
/// use tower::{ServiceBuilder, ServiceExt as _};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// // A careless handler: it takes what it can read, and acknowledges it.
/// let handler = async |body: Body| {
///     let _ = body.collect().await;
///     StatusCode::CREATED
/// };
/// let app = Router::new()
///     .route("/upload", put(handler))
///     .layer(ServiceBuilder::new().layer(DecodeBase64::new(Base64::Declared)).layer(ConfirmBody::new()));
/// for (media, status) in [("SUQz", StatusCode::CREATED), ("SUQ*", StatusCode::BAD_REQUEST)] {
///     let upload = Request::put("/upload").extension(MediaPart::default()).body(Body::from(media)).unwrap();
///     assert_eq!(app.clone().oneshot(upload).await.unwrap().status(), status);
/// }
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConfirmBody;

impl ConfirmBody {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ConfirmBody {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(*self, inner)
    }
}
