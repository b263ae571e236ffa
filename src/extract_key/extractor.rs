//! The trait [`KeyExtractor`].

use http::request::Parts;

use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Determines the key of a request.
///
/// Closures from [`Parts`] to a key implement it:
///
/// ```
/// use http::request::Parts;
/// use kazoo_storage::{BlobKey, ExtractKey};
///
/// let by_tenant = ExtractKey::new(|request: &Parts| {
///     let tenant = request.headers.get("x-tenant").and_then(|name| name.to_str().ok()).unwrap_or("none");
///     BlobKey::from_segments(std::iter::once(tenant).chain(request.uri.path().split('/').filter(|s| !s.is_empty())))
/// });
/// # let _ = by_tenant;
/// ```
pub trait KeyExtractor: Send + Sync + 'static {
    /// Returns the key of an upload.
    fn key(&self, request: &Parts) -> Result<BlobKey>;

    /// Returns the keys that a fetch may refer to, most likely first. By default, this is the key of an upload.
    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        self.key(request).map(Candidates::from)
    }

    /// Returns `true` if [`key`](Self::key) reads the [`Metadata`](crate::Metadata) extension, so that the layer must
    /// be inside [`SplitMultipart`](crate::SplitMultipart).
    fn reads_metadata(&self) -> bool {
        false
    }
}

impl<F> KeyExtractor for F
where
    F: Fn(&Parts) -> Result<BlobKey> + Send + Sync + 'static,
{
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        self(request)
    }
}
