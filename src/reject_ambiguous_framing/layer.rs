use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that rejects requests whose end or host is ambiguous.
///
/// See the [module](crate::reject_ambiguous_framing).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RejectAmbiguousFraming;

impl RejectAmbiguousFraming {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for RejectAmbiguousFraming {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
