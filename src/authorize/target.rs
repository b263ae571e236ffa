//! The target of a request without a credential in it.

use http::{
    Uri,
    request::Parts,
    uri::{self, PathAndQuery},
};
use percent_encoding::percent_decode_str;

/// Removes the first non-empty segment of the path and returns it, percent-decoded.
///
/// An [`Authorizer`](super::Authorizer) uses it for a token or the name of a customer in the path: with
/// `http://host/some_prefix/TOKEN` in the storage settings, every target has the token in front, also the doubled ones
/// of KAZOO since 4.3.106. Returns `None`, and changes nothing, if there is no segment, or if it is not UTF-8.
///
/// ```
/// use http::Request;
/// use kazoo_storage::authorize::take_first_segment;
///
/// let (mut parts, ()) = Request::put("/t%6Fken/ACC/DOC/ATT?folder=new").body(()).unwrap().into_parts();
/// assert_eq!(take_first_segment(&mut parts).as_deref(), Some("token"));
/// assert_eq!(parts.uri, "/ACC/DOC/ATT?folder=new");
/// ```
pub fn take_first_segment(request: &mut Parts) -> Option<String> {
    let (segment, rest) = split_segment(request.uri.path())?;
    let decoded = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    let rest = if rest.is_empty() { "/" } else { rest };
    request.uri = with_target(&request.uri, rest, request.uri.query().unwrap_or_default())?;
    Some(decoded)
}

/// Splits the first non-empty segment off a path.
pub(super) fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    let end = path.find('/').unwrap_or(path.len());
    let (segment, rest) = path.split_at(end);
    (!segment.is_empty()).then_some((segment, rest))
}

/// Returns `uri` with this path and query.
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
    fn takes_the_first_segment_that_is_not_empty() {
        for (target, segment, rest) in [
            ("/T/A/B?x=1", Some("T"), "/A/B?x=1"),
            ("//T//A", Some("T"), "//A"),
            ("/a%2Fb/A", Some("a/b"), "/A"),
            ("/T", Some("T"), "/"),
            ("/T?x=1", Some("T"), "/?x=1"),
            ("http://host/T/A", Some("T"), "http://host/A"),
            ("/", None, "/"),
            ("///", None, "///"),
            ("/%FF/A", None, "/%FF/A"),
        ] {
            let (mut parts, ()) = http::Request::get(target).body(()).unwrap().into_parts();
            assert_eq!(take_first_segment(&mut parts).as_deref(), segment, "{target}");
            assert_eq!(parts.uri.to_string(), rest, "{target}");
        }
    }
}
