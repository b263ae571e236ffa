//! [`take_first_segment`]: takes a secret off the path.

use http::{
    Uri,
    request::Parts,
    uri::{self, PathAndQuery},
};
use percent_encoding::percent_decode_str;

/// Removes the first segment of the path, such as a token, and returns it decoded.
///
/// Empty segments in front of it are removed, too. Returns `None` and leaves the request unchanged if the path has no
/// segment, or if the segment is not UTF-8.
///
/// ```
/// use http::Request;
/// use kazoo_storage::authorize::take_first_segment;
///
/// let mut head = Request::put("/s3cr%2Ft/ACC/DOC/ATT?id=1").body(()).unwrap().into_parts().0;
/// assert_eq!(take_first_segment(&mut head).as_deref(), Some("s3cr/t"));
/// assert_eq!(head.uri, "/ACC/DOC/ATT?id=1");
/// ```
pub fn take_first_segment(request: &mut Parts) -> Option<String> {
    let (segment, rest) = split_segment(request.uri.path())?;
    let segment = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    let rest = if rest.is_empty() { "/" } else { rest };
    request.uri = with_target(&request.uri, rest, request.uri.query().unwrap_or_default())?;
    Some(segment)
}

/// Splits the first non-empty segment off a path.
pub(super) fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    let end = path.find('/').unwrap_or(path.len());
    let (segment, rest) = path.split_at(end);
    (!segment.is_empty()).then_some((segment, rest))
}

/// Returns `uri` with another path and query.
pub(super) fn with_target(uri: &Uri, path: &str, query: &str) -> Option<Uri> {
    let mut parts = uri::Parts::from(uri.clone());
    let target = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_segment_and_nothing_else() {
        for (target, segment, left) in [
            ("/T/A/B", Some("T"), "/A/B"),
            ("//T//A?x=/y", Some("T"), "//A?x=/y"),
            ("/T", Some("T"), "/"),
            ("/T?x", Some("T"), "/?x"),
            ("http://host/T/A", Some("T"), "http://host/A"),
            ("/a%2Fb%20c/A", Some("a/b c"), "/A"),
            ("/", None, "/"),
            ("//?x", None, "//?x"),
            ("/%FF/A", None, "/%FF/A"),
        ] {
            let mut head = http::Request::get(target).body(()).unwrap().into_parts().0;
            assert_eq!(take_first_segment(&mut head).as_deref(), segment, "{target}");
            assert_eq!(head.uri.to_string(), left, "{target}");
        }
    }
}
