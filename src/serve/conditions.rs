//! Conditions of a fetch (RFC 9110, section 13), which browsers and players send and KAZOO never does. For those of an
//! upload, see [`Precondition`](crate::store::Precondition).

use std::time::SystemTime;

use http::{HeaderMap, header};

use crate::store::{
    BlobInfo, dates,
    etag::{Comparison, Tag, Tags},
    precondition::{if_unmodified_since, is_unchanged},
};

/// Result of the conditions of a GET or HEAD.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

/// Returns `true` if the request has a condition.
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

/// Evaluates the conditions for the stored file.
pub(super) fn of_fetch(headers: &HeaderMap, info: &BlobInfo, now: SystemTime) -> Verdict {
    let if_match = Tags::from_headers(headers, &header::IF_MATCH);
    if !is_unchanged(if_match.as_ref(), if_unmodified_since(headers), Some(info), now) {
        return Verdict::Failed;
    }
    let fresh = match Tags::from_headers(headers, &header::IF_NONE_MATCH) {
        Some(tags) => tags.match_file(info, Comparison::Weak),
        None => dates::from_headers(headers, &header::IF_MODIFIED_SINCE)
            .is_some_and(|date| dates::is_fresh(info, date, now)),
    };
    if fresh { Verdict::NotModified } else { Verdict::Proceed }
}

/// Returns `true` if `If-Range` is absent or permits a partial response: it names the strong entity tag of the file, or
/// exactly the date in its responses.
pub(super) fn range_holds(headers: &HeaderMap, info: &BlobInfo, now: SystemTime) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => match value.as_bytes() {
            tag @ ([b'"', ..] | [b'W', b'/', ..]) => match (Tag::parse(tag), Tag::of(info)) {
                (Some(tag), Some(of_file)) => tag.is(&of_file, Comparison::Strong),
                _ => false,
            },
            _ => dates::parse(value).is_some_and(|date| dates::last_modified(info, now) == Some(date)),
        },
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The second in which the file was stored, half a second before [`stored`].
    const AT: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
    const BEFORE: &str = "Tue, 14 Nov 2023 22:13:19 GMT";
    const AFTER: &str = "Tue, 14 Nov 2023 22:13:21 GMT";
    const FUTURE: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

    fn stored() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
    }

    fn info() -> BlobInfo {
        let mut info = BlobInfo::new(10);
        info.etag = Some(HeaderValue::from_static("\"v2\""));
        info.modified = Some(stored());
        info
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn evaluates_the_conditions_of_a_fetch() {
        for (pairs, verdict) in [
            (&[("if-none-match", "\"v1\", W/\"v2\"")][..], Verdict::NotModified),
            (&[("if-none-match", "*")], Verdict::NotModified),
            (&[("if-none-match", "\"v1\"")], Verdict::Proceed),
            (&[("if-modified-since", AT)], Verdict::NotModified),
            (&[("if-modified-since", AFTER)], Verdict::NotModified),
            (&[("if-modified-since", BEFORE)], Verdict::Proceed),
            (&[("if-modified-since", FUTURE)], Verdict::Proceed),
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
            assert_eq!(of_fetch(&headers, &info(), stored() + 9 * SECOND), verdict, "{pairs:?}");
        }
        assert!(!any(&HeaderMap::new()));
    }

    /// A client's copy of an older version may have the same date until the second is over.
    #[test]
    fn a_date_matches_nothing_in_its_own_second() {
        for (name, verdict) in [
            ("if-modified-since", Verdict::Proceed),
            ("if-unmodified-since", Verdict::Failed),
        ] {
            let headers = headers(&[(name, AT)]);
            assert_eq!(of_fetch(&headers, &info(), stored()), verdict, "{name}");
        }
    }

    /// Checks every possible validator, for each kind of file, at each time: a partial response is sent only if the
    /// validator identifies the bytes of this version and of no other.
    #[test]
    fn permits_a_range_only_of_the_identified_version() {
        let strong = Some("\"v2\"");
        let weak = Some("W/\"v2\"");
        for etag in [strong, weak, None] {
            for (now, second_is_over) in [
                (stored(), false),
                (stored() + SECOND / 4, false),
                (stored() + SECOND / 2, true),
                (stored() + 9 * SECOND, true),
                // The clock was wrong when the file was stored.
                (stored() - 9 * SECOND, false),
            ] {
                let mut info = info();
                info.etag = etag.map(HeaderValue::from_static);
                for (value, holds) in [
                    ("\"v2\"", etag == strong),
                    ("\"v1\"", false),
                    ("W/\"v2\"", false),
                    ("\"v 2\"", false),
                    ("nonsense", false),
                    ("", false),
                    (BEFORE, false),
                    (AT, second_is_over),
                    (AFTER, false),
                    (FUTURE, false),
                ] {
                    let headers = headers(&[("if-range", value)]);
                    let held = range_holds(&headers, &info, now);
                    assert_eq!(held, holds, "{value} of {etag:?} at {now:?}");
                }
                assert!(range_holds(&HeaderMap::new(), &info, now));
                let twice = headers(&[("if-range", "\"v2\""), ("if-range", "\"v2\"")]);
                assert!(!range_holds(&twice, &info, now));
            }
        }
    }
}
