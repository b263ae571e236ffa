//! The trait [`KeyExtractor`].

use http::request::Parts;

use super::Prefixed;
use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Determines the key of a request.
///
/// [`prefixed`](Self::prefixed) puts segments of your own in front of the key of any extractor. For any other key,
/// implement the trait on top of an extractor of this crate, and map the key of an upload and each candidate of a fetch
/// with one function:
///
/// ```
/// use http::{Request, request::Parts};
/// use kazoo_storage::{BlobKey, PathKey, Result, extract_key::KeyExtractor, key::Candidates};
///
/// /// Stores files without the owner of their document, which KAZOO adds as the second of four segments.
/// struct WithoutOwner;
///
/// fn without_owner(key: &BlobKey) -> Result<BlobKey> {
///     match (key.account_id(), key.document_id()) {
///         (Some(account), Some(document)) => BlobKey::from_segments([account, document, key.attachment()]),
///         _ => Ok(key.clone()),
///     }
/// }
///
/// impl KeyExtractor for WithoutOwner {
///     fn key(&self, request: &Parts) -> Result<BlobKey> {
///         without_owner(&PathKey.key(request)?)
///     }
///
///     fn candidates(&self, request: &Parts) -> Result<Candidates> {
///         // A key is mapped only after `PathKey` has found where the target of the upload may end.
///         let found = PathKey.candidates(request)?;
///         let keys = found.iter().map(without_owner).collect::<Result<Vec<_>>>()?;
///         Ok(Candidates::new(without_owner(found.first())?, keys))
///     }
/// }
///
/// let head = |path: &str| Request::get(path).body(()).unwrap().into_parts().0;
/// let stored = WithoutOwner.key(&head("/ACCOUNT/OWNER/DOCUMENT/message.mp3"))?;
/// assert_eq!(stored.to_string(), "ACCOUNT/DOCUMENT/message.mp3");
/// // KAZOO before 4.3.106 fetches the target of the upload. Later releases double it.
/// for fetch in [
///     "/ACCOUNT/OWNER/DOCUMENT/message.mp3",
///     "/ACCOUNT/OWNER/DOCUMENT/message.mp3/ACCOUNT/OWNER/DOCUMENT/message.mp3?folder=new",
/// ] {
///     assert_eq!(WithoutOwner.candidates(&head(fetch))?.first(), &stored);
/// }
/// // The second half follows the current settings, here a `field_list` of only the name. Another candidate is right.
/// let changed = WithoutOwner.candidates(&head("/ACCOUNT/OWNER/DOCUMENT/message.mp3/message.mp3"))?;
/// assert!(changed.iter().any(|key| *key == stored));
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
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
