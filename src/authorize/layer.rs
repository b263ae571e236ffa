use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Authorizer, authorizer::DynAuthorizer, tell::TellGrant};
use crate::{exchange::ExchangeService, rewrite::RewriteService};

/// Layer that authorizes requests.
///
/// See the [module](crate::authorize).
#[derive(Clone)]
pub struct Authorize {
    pub(super) authorizer: Arc<dyn DynAuthorizer>,
}

impl Authorize {
    /// Authorizes every request with `authorizer`.
    pub fn new(authorizer: impl Authorizer) -> Self {
        Self {
            authorizer: Arc::new(authorizer),
        }
    }
}

impl<S> Layer<S> for Authorize {
    type Service = RewriteService<Self, ExchangeService<TellGrant, S>>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(self.clone(), ExchangeService::new(TellGrant, inner))
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorize").finish_non_exhaustive()
    }
}
