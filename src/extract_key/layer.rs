use std::{fmt, sync::Arc};

use tower_layer::Layer;

use super::{ExtractKeyService, KeyExtractor, PathKey};

/// Layer that puts the [`BlobKey`](crate::BlobKey) a request means among its extensions.
///
/// See the [module](crate::extract_key).
pub struct ExtractKey<K: ?Sized = PathKey> {
    extractor: Arc<K>,
}

impl<K: KeyExtractor> ExtractKey<K> {
    /// Asks `extractor` for the key of every request.
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
    type Service = ExtractKeyService<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        ExtractKeyService {
            inner,
            extractor: Arc::clone(&self.extractor),
        }
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
