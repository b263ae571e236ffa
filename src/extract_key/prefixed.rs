//! [`Prefixed`]: the key of another extractor, with a prefix.

use std::fmt;

use http::request::Parts;

use super::KeyExtractor;
use crate::{
    error::Result,
    key::{BlobKey, Candidates},
};

/// Puts a prefix in front of the keys of the extractor `K`; made by [`KeyExtractor::prefixed`].
#[derive(Clone)]
pub struct Prefixed<K, F> {
    extractor: K,
    prefix: F,
}

impl<K, F> Prefixed<K, F> {
    pub(super) fn new(extractor: K, prefix: F) -> Self {
        Self { extractor, prefix }
    }
}

impl<K, F> KeyExtractor for Prefixed<K, F>
where
    K: KeyExtractor,
    F: Fn(&Parts) -> Result<BlobKey> + Send + Sync + 'static,
{
    fn key(&self, request: &Parts) -> Result<BlobKey> {
        let key = self.extractor.key(request)?;
        let candidates = Candidates::from(key).with_prefix(&(self.prefix)(request)?)?;
        Ok(candidates.first().clone())
    }

    fn candidates(&self, request: &Parts) -> Result<Candidates> {
        let candidates = self.extractor.candidates(request)?;
        candidates.with_prefix(&(self.prefix)(request)?)
    }

    fn reads_metadata(&self) -> bool {
        self.extractor.reads_metadata()
    }
}

impl<K: fmt::Debug, F> fmt::Debug for Prefixed<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefixed")
            .field("extractor", &self.extractor)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, PathKey};

    fn head(path: &str) -> Parts {
        http::Request::get(path).body(()).unwrap().into_parts().0
    }

    #[test]
    fn refuses_a_key_that_is_too_long_with_its_prefix() {
        let extractor = PathKey.prefixed(|_: &Parts| BlobKey::from_segments(["tenant"]));
        let fits = ["a"; BlobKey::MAX_SEGMENTS - 1].join("/");
        assert!(extractor.key(&head(&format!("/{fits}"))).is_ok());
        let long = "x".repeat(BlobKey::MAX_SEGMENT_LEN);
        for path in [
            format!("/a/{fits}"),
            format!("/{long}/{}", &long[..BlobKey::MAX_SEGMENT_LEN - 7]),
        ] {
            assert!(PathKey.key(&head(&path)).is_ok(), "{path}");
            let error = extractor.key(&head(&path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidKey);
            assert!(error.message().contains("prefix"), "{error}");
        }
    }

    #[test]
    fn omits_the_candidates_that_are_too_long_with_the_prefix() {
        let extractor = PathKey.prefixed(|_: &Parts| BlobKey::from_segments(["tenant"]));
        let path = vec!["a"; BlobKey::MAX_SEGMENTS].join("/");
        let candidates = extractor.candidates(&head(&format!("/{path}"))).unwrap();
        assert_eq!(candidates.first().segments().len(), BlobKey::MAX_SEGMENTS / 2 + 1);
        assert_eq!(candidates.iter().count(), BlobKey::MAX_SEGMENTS - 1);
        assert!(candidates.iter().all(|key| key.segments().next() == Some("tenant")));
    }

    #[test]
    fn the_prefix_may_refuse_the_request() {
        let extractor = PathKey.prefixed(|_: &Parts| Err(crate::Error::new(ErrorKind::Forbidden, "no tenant")));
        assert_eq!(extractor.key(&head("/a")).unwrap_err().kind(), ErrorKind::Forbidden);
        assert_eq!(
            extractor.candidates(&head("/a")).unwrap_err().kind(),
            ErrorKind::Forbidden
        );
    }
}
