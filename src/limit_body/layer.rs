use tower_layer::Layer;

use crate::rewrite::RewriteService;

/// Layer that limits the length of bodies, to its own limit and to that of the request's
/// [`Grant`](crate::grant::Grant), if there is one.
///
/// See the [module](crate::limit_body).
#[derive(Clone, Copy, Debug)]
pub struct LimitBody {
    pub(super) limit: Limit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) max: u64,
    /// The limited body, for the error message.
    pub(super) subject: &'static str,
}

impl LimitBody {
    /// Limits bodies to `max` bytes.
    #[must_use]
    pub fn new(max: u64) -> Self {
        Self::of("body", max)
    }

    /// Limits the media to `max` bytes: the body behind the layers that split and decode it. Only the message of the
    /// error differs from [`new`](Self::new).
    #[must_use]
    pub fn media(max: u64) -> Self {
        Self::of("media", max)
    }

    fn of(subject: &'static str, max: u64) -> Self {
        Self {
            limit: Limit { max, subject },
        }
    }
}

impl<S> Layer<S> for LimitBody {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(*self, inner)
    }
}
