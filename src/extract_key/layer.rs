use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{KeyExtractor, PathKey};
use crate::rewrite::RewriteService;

/// Layer that inserts the [`BlobKey`](crate::BlobKey) of a request into its extensions.
///
/// See the [module](crate::extract_key).
pub struct ExtractKey<K: ?Sized = PathKey> {
    pub(super) extractor: Arc<K>,
}

impl<K: KeyExtractor> ExtractKey<K> {
    /// Finds the key of every request with `extractor`.
    pub fn new(extractor: K) -> Self {
        Self {
            extractor: Arc::new(extractor),
        }
    }
}

impl<K: KeyExtractor + ?Sized> ExtractKey<K> {
    pub(crate) fn shared(extractor: Arc<K>) -> Self {
        Self { extractor }
    }
}

impl<K: KeyExtractor + ?Sized, S> Layer<S> for ExtractKey<K> {
    type Service = RewriteService<Self, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RewriteService::new(self.clone(), inner)
    }
}

impl<K: ?Sized> Clone for ExtractKey<K> {
    fn clone(&self) -> Self {
        Self {
            extractor: Arc::clone(&self.extractor),
        }
    }
}

impl<K: ?Sized> fmt::Debug for ExtractKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractKey").finish_non_exhaustive()
    }
}
