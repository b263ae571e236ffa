use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{Events, ObserveService};

/// Layer that reports each request to an [`Events`].
///
/// See the [module](crate::observe).
#[derive(Clone)]
pub struct Observe {
    events: Arc<dyn Events>,
}

impl Observe {
    /// Reports to `events`.
    pub fn new(events: impl Events) -> Self {
        Self {
            events: Arc::new(events),
        }
    }

    pub(crate) fn shared(events: Arc<dyn Events>) -> Self {
        Self { events }
    }
}

impl<S> Layer<S> for Observe {
    type Service = ObserveService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ObserveService {
            inner,
            events: Arc::clone(&self.events),
        }
    }
}

impl fmt::Debug for Observe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observe").finish_non_exhaustive()
    }
}
