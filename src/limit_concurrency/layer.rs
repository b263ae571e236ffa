use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{LimitConcurrencyService, permit::Room};
use crate::retry::RetryWindow;

/// Layer that answers a number of requests at once, and asks for the others again.
///
/// A clone counts with the one it is of, and so do the services of both. See the [module](crate::limit_concurrency).
#[derive(Clone, Debug)]
pub struct LimitConcurrency {
    pub(super) room: Arc<Room>,
    pub(super) retry: Arc<RetryWindow>,
}

impl LimitConcurrency {
    /// Lets `max` requests through at once.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            room: Room::new(max, usize::MAX),
            retry: Arc::default(),
        }
    }

    /// Lets at most `requests` of one client through at once, by its [`ClientAddr`](crate::ClientAddr) or else its
    /// [`PeerAddr`](crate::PeerAddr); by default as many as there may be in all.
    ///
    /// A request with neither extension counts in all only. Set this before the layer is cloned.
    #[must_use]
    pub fn per_client(mut self, requests: usize) -> Self {
        self.room = self.room.per_client(requests);
        self
    }

    /// Turns a key away with `Retry-After` for at most `window`; by default [`RetryWindow::DEFAULT`].
    #[must_use]
    pub fn retry_window(mut self, window: Duration) -> Self {
        self.retry = Arc::new(RetryWindow::new(window));
        self
    }
}

impl<S> Layer<S> for LimitConcurrency {
    type Service = LimitConcurrencyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        LimitConcurrencyService {
            inner,
            limit: self.clone(),
        }
    }
}
