//! The trait [`KeyExtractor`].

use http::request::Parts;

use super::Prefixed;
use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Determines the key of a request.
///
/// [`prefixed`](Self::prefixed) puts segments of your own in front of the key of any extractor.
pub trait KeyExtractor: Send + Sync + 'static {
    /// Returns the key of an upload.
    fn key(&self, request: &Parts) -> Result<BlobKey>;

    /// Returns the keys that a fetch may refer to, most likely first.
    ///
    /// The key of the upload must be among them, although the target of the fetch differs: since 4.3.106, KAZOO appends
    /// the segments of its current settings to the target of the upload. [`Candidates::from_path`] handles that for a
    /// path.
    fn candidates(&self, request: &Parts) -> Result<Candidates>;

    /// Returns `true` if [`key`](Self::key) reads the [`Metadata`](crate::Metadata) extension, so that the layer must
    /// be inside [`SplitMultipart`](crate::SplitMultipart).
    fn reads_metadata(&self) -> bool {
        false
    }

    /// Puts the segments that `prefix` finds in the request in front of the key and of every candidate.
    ///
    /// `prefix` must find the same segments in the upload and in each fetch of a file. A key that is too long with its
    /// prefix is rejected.
    ///
    /// ```
    /// use http::{Request, request::Parts};
    /// use kazoo_storage::{BlobKey, Error, ErrorKind, PathKey, extract_key::KeyExtractor};
    ///
    /// /// Request extension: the customer, inserted by an outer layer.
    /// #[derive(Clone)]
    /// struct Customer(String);
    ///
    /// let extractor = PathKey.prefixed(|request: &Parts| match request.extensions.get::<Customer>() {
    ///     Some(Customer(name)) => BlobKey::from_segments([name]),
    ///     None => Err(Error::new(ErrorKind::Internal, "the request has no customer")),
    /// });
    /// let head = |path: &str| Request::get(path).extension(Customer("acme".to_owned())).body(()).unwrap().into_parts().0;
    /// let stored = extractor.key(&head("/ACC/DOC/ATT.mp3"))?;
    /// assert_eq!(stored.to_string(), "acme/ACC/DOC/ATT.mp3");
    /// let fetched = extractor.candidates(&head("/ACC/DOC/ATT.mp3/ACC/DOC/ATT.mp3"))?;
    /// assert_eq!(fetched.first(), &stored);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    fn prefixed<F>(self, prefix: F) -> Prefixed<Self, F>
    where
        Self: Sized,
        F: Fn(&Parts) -> Result<BlobKey> + Send + Sync + 'static,
    {
        Prefixed::new(self, prefix)
    }
}
