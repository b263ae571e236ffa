use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{AuthorizeService, Authorizer};

/// Layer that lets in who may store and fetch.
///
/// See the [module](crate::authorize).
pub struct Authorize<A> {
    authorizer: Arc<A>,
}

impl<A: Authorizer> Authorize<A> {
    /// Asks `authorizer` about every request.
    pub fn new(authorizer: A) -> Self {
        Self {
            authorizer: Arc::new(authorizer),
        }
    }
}

impl<A: Authorizer, S> Layer<S> for Authorize<A> {
    type Service = AuthorizeService<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        AuthorizeService {
            inner,
            authorizer: Arc::clone(&self.authorizer),
        }
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
