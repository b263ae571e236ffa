use std::fmt;

use http::Response;
use tower_layer::Layer;

use crate::{body::Body, error::Error, exchange::ExchangeService};

/// Layer that replaces the format of all errors.
///
/// See the [module](crate::format_errors).
#[derive(Clone)]
pub struct FormatErrors<F> {
    pub(super) format: F,
}

impl<F: Fn(&Error, Response<Body>) -> Response<Body>> FormatErrors<F> {
    /// Passes the response to each error through `format`.
    pub fn new(format: F) -> Self {
        Self { format }
    }
}

impl<F: Clone, S> Layer<S> for FormatErrors<F> {
    type Service = ExchangeService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExchangeService::new(self.clone(), inner)
    }
}

impl<F> fmt::Debug for FormatErrors<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FormatErrors").finish_non_exhaustive()
    }
}
