//! [`Precondition`]: the condition for an upload to be stored.

use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    BlobInfo, BlobStore, dates,
    etag::{Comparison, Malformed, Tag, Tags},
};
use crate::{
    error::{Error, ErrorKind, Result},
    key::BlobKey,
};

/// The condition under which an [`Upload`](super::Upload) is stored, as in the headers `If-Match`, `If-None-Match` and
/// `If-Unmodified-Since` (RFC 9110, section 13). By default there is none.
///
/// A store [checks](Self::check) it in the same atomic step that makes the upload visible. Of several uploads that must
/// not replace each other, exactly one is therefore stored.
///
/// ```
/// use http::HeaderValue;
/// use kazoo_storage::{BlobInfo, store::Precondition};
///
/// let current = BlobInfo::new(3).with_etag(HeaderValue::from_static("\"v1\""));
///
/// assert!(Precondition::if_absent().allows(None));
/// assert!(!Precondition::if_absent().allows(Some(&current)));
/// assert!(Precondition::if_match(&HeaderValue::from_static("\"v1\"")).allows(Some(&current)));
/// assert!(!Precondition::if_match(&HeaderValue::from_static("\"v0\"")).allows(Some(&current)));
/// assert!(Precondition::default().allows(Some(&current)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Precondition {
    /// `If-Match`.
    one_of: Option<Tags>,
    /// `If-None-Match`.
    none_of: Option<Tags>,
    /// `If-Unmodified-Since`.
    unmodified_since: Option<SystemTime>,
}

impl Precondition {
    pub(crate) const NONE: Self = Self {
        one_of: None,
        none_of: None,
        unmodified_since: None,
    };

    /// Requires that nothing is stored under the key: `If-None-Match: *`.
    #[must_use]
    pub fn if_absent() -> Self {
        Self {
            none_of: Some(Tags::Any),
            ..Self::NONE
        }
    }

    /// Requires that the stored file has this strong [entity tag](BlobInfo::etag): `If-Match: "…"`. A weak or malformed
    /// tag matches no file.
    #[must_use]
    pub fn if_match(etag: &HeaderValue) -> Self {
        Self {
            one_of: Some(Tags::List(Tag::parse(etag.as_bytes()).into_iter().collect())),
            ..Self::NONE
        }
    }

    /// Parses the conditions in `headers`. A malformed list of entity tags is [`ErrorKind::InvalidRequest`]:
    /// interpreted as an empty list, it could let an upload replace a file that the client wants to keep.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self> {
        let tags = |name: &HeaderName| {
            Tags::from_headers_strictly(headers, name).map_err(|Malformed| {
                let message = format!("`{name}` needs `*` or entity tags in quotes, such as \"5f3c\"");
                Error::new(ErrorKind::InvalidRequest, message)
            })
        };
        Ok(Self {
            one_of: tags(&header::IF_MATCH)?,
            none_of: tags(&header::IF_NONE_MATCH)?,
            unmodified_since: if_unmodified_since(headers),
        })
    }

    /// Returns `true` if there is no condition.
    #[must_use]
    pub fn is_unconditional(&self) -> bool {
        *self == Self::NONE
    }

    /// Returns `true` if the condition permits an upload that replaces `current`, or nothing.
    #[must_use]
    pub fn allows(&self, current: Option<&BlobInfo>) -> bool {
        let is_listed = |tags: &Tags| current.is_some_and(|info| tags.match_file(info, Comparison::Weak));
        is_unchanged(self.one_of.as_ref(), self.unmodified_since, current, SystemTime::now())
            && !self.none_of.as_ref().is_some_and(is_listed)
    }

    /// Returns [`ErrorKind::PreconditionFailed`] if the condition does not permit an upload that replaces `current`, or
    /// nothing.
    pub fn check(&self, current: Option<&BlobInfo>) -> Result<()> {
        if self.allows(current) {
            return Ok(());
        }
        let message = "the file under this name does not meet the conditions of the request; nothing was changed";
        Err(Error::new(ErrorKind::PreconditionFailed, message))
    }

    /// [Checks](Self::check) the condition against the file that `store` has under `key`, which may change afterwards.
    pub async fn check_in<S: BlobStore + ?Sized>(&self, store: &S, key: &BlobKey) -> Result<()> {
        if self.is_unconditional() {
            return Ok(());
        }
        let current = match store.head(key).await {
            Err(error) if error.is_not_found() => None,
            current => Some(current?),
        };
        self.check(current.as_ref())
    }
}

/// Returns the date in `If-Unmodified-Since`, or `None` if it is malformed, as RFC 9110 requires.
pub(crate) fn if_unmodified_since(headers: &HeaderMap) -> Option<SystemTime> {
    dates::from_headers(headers, &header::IF_UNMODIFIED_SINCE)
}

/// Evaluates `If-Match`, or `If-Unmodified-Since` if it is absent.
pub(crate) fn is_unchanged(
    if_match: Option<&Tags>,
    if_unmodified_since: Option<SystemTime>,
    current: Option<&BlobInfo>,
    now: SystemTime,
) -> bool {
    match (if_match, if_unmodified_since, current) {
        (Some(tags), _, current) => current.is_some_and(|info| tags.match_file(info, Comparison::Strong)),
        (None, Some(date), Some(info)) => dates::is_unmodified_since(info, date, now),
        (None, _, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn precondition(pairs: &[(&'static str, &'static str)]) -> Precondition {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Precondition::from_headers(&headers.collect()).unwrap()
    }

    #[test]
    fn evaluates_headers_in_the_order_of_the_standard() {
        let info = BlobInfo::new(10)
            .with_etag(HeaderValue::from_static("\"v2\""))
            .with_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        let (at, before) = ("Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:19 GMT");
        for (pairs, present, absent) in [
            (&[][..], true, true),
            (&[("if-none-match", "*")], false, true),
            (&[("if-none-match", "\"v1\", W/\"v2\"")], false, true),
            (&[("if-none-match", "\"v1\"")], true, true),
            (&[("if-match", "*")], true, false),
            (&[("if-match", "\"v1\"")], false, false),
            (&[("if-match", "\"v1\", \"v2\"")], true, false),
            (&[("if-match", "W/\"v2\"")], false, false),
            (&[("if-unmodified-since", at)], true, true),
            (&[("if-unmodified-since", before)], false, true),
            (&[("if-unmodified-since", "rubbish")], true, true),
            // The tag takes precedence.
            (&[("if-match", "\"v2\""), ("if-unmodified-since", before)], true, false),
            (&[("if-match", "\"v2\""), ("if-none-match", "*")], false, false),
            // This condition applies to fetches only.
            (&[("if-modified-since", at)], true, true),
        ] {
            let precondition = precondition(pairs);
            assert_eq!(precondition.allows(Some(&info)), present, "{pairs:?}");
            assert_eq!(precondition.allows(None), absent, "{pairs:?}");
            let applies = pairs
                .iter()
                .any(|(name, value)| *name != "if-modified-since" && *value != "rubbish");
            assert_eq!(precondition.is_unconditional(), !applies, "{pairs:?}");
        }
        assert_eq!(precondition(&[("if-none-match", "*")]), Precondition::if_absent());
        let tag = HeaderValue::from_static("\"v2\"");
        assert_eq!(precondition(&[("if-match", "\"v2\"")]), Precondition::if_match(&tag));
        let refused = Precondition::if_absent().check(Some(&info)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    }

    #[test]
    fn refuses_a_malformed_list() {
        for name in [header::IF_MATCH, header::IF_NONE_MATCH] {
            for value in ["v1", "*, \"v1\"", "\"v1", ""] {
                let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]);
                let error = Precondition::from_headers(&headers).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{name}: {value}");
                assert!(error.message().contains(name.as_str()), "{error}");
            }
        }
    }
}
