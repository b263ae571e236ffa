use tower_layer::Layer;

use crate::exchange::ExchangeService;

/// Layer that answers an upload with a success only if the handler has read its whole body.
///
/// See the [module](crate::confirm_body).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ConfirmBody;

impl ConfirmBody {
    /// Creates the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for ConfirmBody {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(*self, inner)
    }
}
