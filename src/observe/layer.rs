use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::Events;
use crate::exchange::ExchangeService;

/// Layer that reports each request to an [`Events`].
///
/// See the [module](crate::observe).
#[derive(Clone)]
pub struct Observe {
    pub(super) events: Arc<dyn Events>,
}

impl Observe {
    /// Reports to `events`.
    pub fn new(events: impl Events) -> Self {
        Self {
            events: Arc::new(events),
        }
    }
}

impl<S> Layer<S> for Observe {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").finish_non_exhaustive()
    }
}
