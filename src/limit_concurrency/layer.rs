use std::sync::Arc;

use tower_layer::Layer;

use super::permit::Requests;
use crate::exchange::ExchangeService;

/// Layer that limits the number of concurrent requests.
///
/// Clones and their services share one limit. See the [module](crate::limit_concurrency).
#[derive(Clone, Debug)]
pub struct LimitConcurrency {
    pub(super) requests: Arc<Requests>,
}

impl LimitConcurrency {
    /// Allows `max` concurrent requests.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            requests: Requests::new(max, usize::MAX),
        }
    }

    /// Allows `requests` concurrent requests of one client; by default, only the overall limit applies.
    ///
    /// The client is identified by its [`ClientAddr`](crate::client_addr::ClientAddr), or else by its
    /// [`PeerAddr`](crate::PeerAddr). A request with neither extension counts only toward the overall limit. Set this
    /// before the layer is cloned.
    #[must_use]
    pub fn per_client(mut self, requests: usize) -> Self {
        self.requests = self.requests.per_client(requests);
        self
    }
}

impl<S> Layer<S> for LimitConcurrency {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}
