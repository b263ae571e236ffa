use tower_layer::Layer;

use super::VerifyDigestService;

/// Layer that holds an upload to the digests in its headers.
///
/// See the [module](crate::verify_digest).
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyDigest;

impl VerifyDigest {
    /// Verifies the digests of uploads.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for VerifyDigest {
    type Service = VerifyDigestService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        VerifyDigestService { inner }
    }
}
