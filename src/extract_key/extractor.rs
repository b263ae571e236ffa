use http::request::Parts;

use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Says which file a request means.
///
/// A closure from [`Parts`] to a key is one too:
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
    /// The key that a file is stored under.
    fn key(&self, request: &Parts) -> Result<BlobKey>;

    /// The keys that a fetch may mean, best guess first. By default the one that a store would name.
    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        self.key(request).map(Candidates::from)
    }

    /// Whether [`key`](Self::key) reads the [`Metadata`](crate::Metadata) among the request's extensions, so that it
    /// has to be asked behind [`SplitMultipart`](crate::SplitMultipart).
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
