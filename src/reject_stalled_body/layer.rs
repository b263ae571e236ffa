use std::time::Duration;

use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that ends bodies that arrive too slowly.
///
/// See the [module](crate::reject_stalled_body).
#[derive(Clone, Copy, Debug)]
pub struct RejectStalledBody {
    pub(super) timeout: Duration,
}

impl RejectStalledBody {
    /// Limits the wait for each 1 KiB of a body, or for its end, to `timeout`.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }
}

impl<S> Layer<S> for RejectStalledBody {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
