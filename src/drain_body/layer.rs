use tower_layer::Layer;

use crate::exchange::ExchangeService;

/// Layer that reads the rest of a body before an early response.
///
/// See the [module](crate::drain_body).
#[derive(Clone, Copy, Debug)]
pub struct DrainBody {
    pub(super) max: u64,
}

impl DrainBody {
    /// Default maximum number of bytes to read: 64 MiB.
    pub const DEFAULT_MAX: u64 = 64 << 20;

    /// Reads up to [`DEFAULT_MAX`](Self::DEFAULT_MAX) bytes before an early response.
    #[must_use]
    pub fn new() -> Self {
        Self { max: Self::DEFAULT_MAX }
    }

    /// Reads up to `bytes` before an early response. The connection closes if more is left.
    #[must_use]
    pub fn max(mut self, bytes: u64) -> Self {
        self.max = bytes;
        self
    }
}

impl Default for DrainBody {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for DrainBody {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(*self, inner)
    }
}
