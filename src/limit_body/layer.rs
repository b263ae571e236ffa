use tower_layer::Layer;

use super::LimitBodyService;

/// Layer that bounds the request's body and drains what is left of it before an early answer.
///
/// See the [module](crate::limit_body).
#[derive(Clone, Copy, Debug)]
pub struct LimitBody {
    pub(super) max: u64,
    pub(super) drain: u64,
}

impl LimitBody {
    /// How much of an unread body is drained by default: 64 MiB.
    pub const DEFAULT_DRAIN: u64 = 64 << 20;

    /// Lets at most `max` bytes of body through.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self {
            max,
            drain: Self::DEFAULT_DRAIN,
        }
    }

    /// Drains at most `bytes` of an unread body; what is left then is the server's to close on.
    #[must_use]
    pub fn drain(mut self, bytes: u64) -> Self {
        self.drain = bytes;
        self
    }
}

impl<S> Layer<S> for LimitBody {
    type Service = LimitBodyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitBodyService { inner, limits: *self }
    }
}
