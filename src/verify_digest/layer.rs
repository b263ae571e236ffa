use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that verifies the digests of uploads.
///
/// See the [module](crate::verify_digest).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct VerifyDigest;

impl VerifyDigest {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for VerifyDigest {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
