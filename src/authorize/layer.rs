use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::Authorizer;
use crate::rewrite::RewriteService;

/// Layer that authorizes requests.
///
/// See the [module](crate::authorize).
pub struct Authorize<A> {
    pub(super) authorizer: Arc<A>,
}

impl<A: Authorizer> Authorize<A> {
    /// Authorizes every request with `authorizer`.
    pub fn new(authorizer: A) -> Self {
        Self {
            authorizer: Arc::new(authorizer),
        }
    }
}

impl<A: Authorizer, S> Layer<S> for Authorize<A> {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(self.clone(), inner)
    }
}

impl<A> Clone for Authorize<A> {
    fn clone(&self) -> Self {
        Self {
            authorizer: Arc::clone(&self.authorizer),
        }
    }
}

impl<A> fmt::Debug for Authorize<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").finish_non_exhaustive()
    }
}
