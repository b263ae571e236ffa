use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::KeyExtractor;
use crate::rewrite::RewriteService;

/// Layer that inserts the [`BlobKey`](crate::BlobKey) of a request into its extensions.
///
/// See the [module](crate::extract_key).
#[derive(Clone)]
pub struct ExtractKey {
    pub(super) extractor: Arc<dyn KeyExtractor>,
}

impl ExtractKey {
    /// Finds the key of every request with `extractor`.
    pub fn new(extractor: impl KeyExtractor) -> Self {
        Self::shared(Arc::new(extractor))
    }

    pub(crate) fn shared(extractor: Arc<dyn KeyExtractor>) -> Self {
        Self { extractor }
    }
}

impl<S> Layer<S> for ExtractKey {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(self.clone(), inner)
    }
}

impl fmt::Debug for ExtractKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractKey").finish_non_exhaustive()
    }
}
