use http::{HeaderMap, HeaderValue, Method, Version, header, request};

/// Why it is in doubt where this request ends, if it is.
///
/// A proxy in front may take another place for its end, and then takes a part of what follows for a request of its own
/// choosing, or leaves it out. HTTP/2 has lengths of its own.
pub(super) fn doubt(head: &request::Parts) -> Option<&'static str> {
    if head.version > Version::HTTP_11 {
        None
    } else if without_its_length(head) {
        Some("an upload by HTTP/1.0 has to say its content-length; nothing was stored")
    } else if !is_at_most_chunked(&head.headers) {
        Some("the only transfer-encoding that is understood is `chunked`, once; nothing was stored")
    } else if head.headers.get_all(header::HOST).iter().nth(1).is_some() {
        Some("the request has more than one host; nothing was stored")
    } else {
        None
    }
}

/// Whether this is an upload whose body cannot be told from none.
///
/// A version 1.0 client that leaves `content-length` out ends the body by closing the connection; the server sees an
/// empty body, and would acknowledge an empty file.
fn without_its_length(head: &request::Parts) -> bool {
    head.version == Version::HTTP_10
        && matches!(head.method, Method::PUT | Method::POST)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
}

/// Whether no encoding is left in the body that a server has taken the chunks off.
///
/// hyper looks at the last encoding alone: of `gzip, chunked` and `chunked, chunked` it leaves one to be stored.
fn is_at_most_chunked(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_none_or(chunked) && encodings.next().is_none()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_doubted(method: &str, version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        doubt(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn one_encoding_and_one_host_leave_no_doubt() {
        const CHUNKED: (&str, &str) = ("transfer-encoding", "Chunked");
        const HOST: (&str, &str) = ("host", "h");
        for (headers, doubted) in [
            (&[][..], false),
            (&[CHUNKED, HOST], false),
            (&[CHUNKED, CHUNKED], true),
            (&[("transfer-encoding", "gzip, chunked")], true),
            (&[("transfer-encoding", "gzip"), CHUNKED], true),
            (&[("transfer-encoding", "")], true),
            (&[HOST, HOST], true),
        ] {
            assert_eq!(is_doubted("PUT", Version::HTTP_11, headers), doubted, "{headers:?}");
            assert!(!is_doubted("PUT", Version::HTTP_2, headers), "{headers:?}");
        }
    }

    #[test]
    fn an_upload_by_http_1_0_says_its_length() {
        const LENGTH: (&str, &str) = ("content-length", "3");
        for (method, headers, doubted) in [
            ("PUT", &[][..], true),
            ("POST", &[], true),
            ("GET", &[], false),
            ("PUT", &[LENGTH], false),
        ] {
            assert_eq!(is_doubted(method, Version::HTTP_10, headers), doubted, "{method}");
        }
        assert!(!is_doubted("PUT", Version::HTTP_11, &[]));
    }
}
