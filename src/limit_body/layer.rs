use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that limits the length of bodies.
///
/// See the [module](crate::limit_body).
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
