//! Conditional requests (RFC 9110, section 13), which browsers and players send and KAZOO never does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headers::{HeaderMapExt as _, IfModifiedSince, IfRange, IfUnmodifiedSince, LastModified};
use http::{HeaderMap, HeaderValue, header};

use super::etag::{Comparison, Tag, Tags};
use crate::store::BlobInfo;

/// What the conditions of a GET or HEAD say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

/// Whether there is any condition.
pub(super) fn any(headers: &HeaderMap) -> bool {
    [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
    ]
    .into_iter()
    .any(|name| headers.contains_key(name))
}

/// What the conditions say of the file that there is.
pub(super) fn of_fetch(headers: &HeaderMap, info: &BlobInfo) -> Verdict {
    if !unchanged(headers, Some(info)) {
        return Verdict::Failed;
    }
    let fresh = match Tags::under(headers, &header::IF_NONE_MATCH) {
        Some(tags) => tags.have(info, Comparison::Weak),
        None => match (headers.typed_get::<IfModifiedSince>(), date(info)) {
            (Some(condition), Some(modified)) => !condition.is_modified(modified),
            _ => false,
        },
    };
    if fresh { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether the conditions let an upload change the file that there is, if there is one.
pub(super) fn allow_change(headers: &HeaderMap, info: Option<&BlobInfo>) -> bool {
    let none_match = Tags::under(headers, &header::IF_NONE_MATCH)
        .is_none_or(|tags| info.is_none_or(|info| !tags.have(info, Comparison::Weak)));
    unchanged(headers, info) && none_match
}

/// Whether `If-Range`, if there is one, lets a part of the file be sent.
pub(super) fn range_holds(headers: &HeaderMap, info: &BlobInfo) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next().map(HeaderValue::as_bytes), values.next()) {
        (None, _) => true,
        (Some(tag @ ([b'"', ..] | [b'W', b'/', ..])), None) => {
            let of_file = Tag::of(info);
            Tag::parse(tag).is_some_and(|tag| of_file.is_some_and(|of_file| tag.is(of_file, Comparison::Strong)))
        }
        (Some(_), None) => {
            let modified = date(info).map(LastModified::from);
            let date = headers.typed_get::<IfRange>();
            date.is_some_and(|date| !date.is_modified(None, modified.as_ref()))
        }
        (Some(_), Some(_)) => false,
    }
}

/// `If-Match`, or in its absence `If-Unmodified-Since`.
fn unchanged(headers: &HeaderMap, info: Option<&BlobInfo>) -> bool {
    match Tags::under(headers, &header::IF_MATCH) {
        Some(tags) => info.is_some_and(|info| tags.have(info, Comparison::Strong)),
        None => match (headers.typed_get::<IfUnmodifiedSince>(), info.and_then(date)) {
            (Some(condition), Some(modified)) => condition.precondition_passes(modified),
            _ => true,
        },
    }
}

/// When the file was stored, if HTTP has a date for that: from 1970 to the end of 9999.
pub(super) fn date(info: &BlobInfo) -> Option<SystemTime> {
    const END: Duration = Duration::from_secs(253_402_300_800);
    info.modified
        .filter(|modified| modified.duration_since(UNIX_EPOCH).is_ok_and(|since| since < END))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> BlobInfo {
        let mut info = BlobInfo::new(10);
        info.etag = Some(HeaderValue::from_static("\"v2\""));
        info.modified = Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500));
        info
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    // The same second as `info` was stored in.
    const AT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";

    #[test]
    fn fetches() {
        for (pairs, verdict) in [
            (&[("if-none-match", "\"v1\", W/\"v2\"")][..], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"v1\"")], Verdict::Proceed),
            (&[("if-modified-since", AT)], Verdict::NotModified),
            (&[("if-modified-since", BEFORE)], Verdict::Proceed),
            (
                &[("if-none-match", "\"v1\""), ("if-modified-since", AT)],
                Verdict::Proceed,
            ),
            (&[("if-match", "\"v1\"")], Verdict::Failed),
            (&[("if-match", "\"v 2\"")], Verdict::Failed),
            (&[("if-none-match", "\"v\t2\"")], Verdict::Proceed),
            (&[("if-match", "*")], Verdict::Proceed),
            (&[("if-unmodified-since", BEFORE)], Verdict::Failed),
            (&[("if-unmodified-since", AT)], Verdict::Proceed),
        ] {
            let headers = headers(pairs);
            assert!(any(&headers));
            assert_eq!(of_fetch(&headers, &info()), verdict, "{pairs:?}");
        }
        assert!(!any(&HeaderMap::new()));
    }

    #[test]
    fn uploads() {
        let info = info();
        assert!(!allow_change(&headers(&[("if-none-match", "*")]), Some(&info)));
        assert!(allow_change(&headers(&[("if-none-match", "*")]), None));
        assert!(!allow_change(&headers(&[("if-match", "\"v1\"")]), Some(&info)));
        assert!(!allow_change(&headers(&[("if-match", "*")]), None));
        assert!(allow_change(&headers(&[("if-match", "\"v2\"")]), Some(&info)));
    }

    #[test]
    fn a_range_is_sent_only_of_the_file_that_is_meant() {
        for (value, holds) in [
            ("\"v2\"", true),
            ("\"v1\"", false),
            ("W/\"v2\"", false),
            ("\"v 2\"", false),
            ("nonsense", false),
        ] {
            assert_eq!(range_holds(&headers(&[("if-range", value)]), &info()), holds, "{value}");
        }
        assert!(range_holds(&HeaderMap::new(), &info()));
        assert!(!range_holds(&headers(&[("if-range", BEFORE)]), &info()));
    }

    /// A clock that was wrong, or a file that was restored from somewhere.
    #[test]
    fn what_was_stored_before_1970_or_after_9999_has_no_date() {
        let second = Duration::from_secs(1);
        let end = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        let mut info = info();
        for modified in [UNIX_EPOCH - second, end] {
            info.modified = Some(modified);
            assert_eq!(date(&info), None);
            assert_eq!(
                of_fetch(&headers(&[("if-modified-since", AT)]), &info),
                Verdict::Proceed
            );
            assert!(allow_change(&headers(&[("if-unmodified-since", BEFORE)]), Some(&info)));
            assert!(!range_holds(&headers(&[("if-range", AT)]), &info));
        }
        for modified in [UNIX_EPOCH, end - second] {
            info.modified = Some(modified);
            assert_eq!(date(&info), Some(modified));
            assert!(range_holds(
                &headers(&[("if-range", "Fri, 31 Dec 9999 23:59:59 GMT")]),
                &info
            ));
        }
    }
}
