use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::window::Window;
use crate::exchange::ExchangeService;

/// Layer that removes `Retry-After` where a retry does harm.
///
/// Clones share one table of failing requests. See the [module](crate::retry_after).
#[derive(Clone, Debug)]
pub struct RetryAfter {
    pub(super) window: Arc<Window>,
}

impl RetryAfter {
    /// Default duration for which a failing request is answered with `Retry-After`: an hour.
    pub const DEFAULT_WINDOW: Duration = Duration::from_secs(60 * 60);

    /// Answers a failing request with `Retry-After` for `window`, from its first failure on.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window: Arc::new(Window::new(window)),
        }
    }
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self::new(Self::DEFAULT_WINDOW)
    }
}

impl<S> Layer<S> for RetryAfter {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}
