//! The end of a request body: detects requests whose end is ambiguous, and guards bodies whose end the server does not
//! report.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Version, header, request::Parts};
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
};

/// Marks a request whose body is already guarded.
///
/// An outer layer may have replaced the body that an inner layer sees, and its length may differ from the declared one.
#[derive(Clone, Copy, Debug)]
struct Guarded;

/// Takes the body of the request with this `head` and ensures that its end is reliable. Returns an error if the end is
/// ambiguous.
///
/// Every service that reads a body calls this first; the first call decides. The returned body ends cleanly only if it
/// has arrived completely:
///
/// - a body with a declared or known length must have it;
/// - over HTTP/1.1, hyper ends a body without a length with an error unless it has seen the last chunk;
/// - over HTTP/1.0, an upload without `content-length` is rejected;
/// - over HTTP/2 and later, hyper ends a body that the client resets with `NO_ERROR` as if it were complete. Without a
///   length, the end must be confirmed by [`is_end_stream`](HttpBody::is_end_stream).
pub(crate) fn guard<B>(head: &mut Parts, body: B) -> Result<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let body = Body::new(body);
    if head.extensions.get::<Guarded>().is_some() {
        return Ok(body);
    }
    if let Some(reason) = ambiguity(head) {
        return Err(Error::new(ErrorKind::InvalidRequest, reason));
    }
    head.extensions.insert(Guarded);
    let len = declared_len(&head.headers).or_else(|| body.size_hint().exact());
    let is_trusted = match len {
        Some(len) => len == 0 && body.is_end_stream(),
        None => head.version <= Version::HTTP_11 || body.is_end_stream(),
    };
    Ok(if is_trusted {
        body
    } else {
        Body::new(Confirmed { body, left: len })
    })
}

/// Returns the length that `content-length` declares, if it consists of digits alone.
pub(crate) fn declared_len(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_LENGTH)?.to_str().ok()?;
    // `parse` takes a sign too.
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_digits)
}

/// Returns the reason why the end of this request's body is ambiguous, if it is.
///
/// A proxy in front may see a different end. HTTP/2 frames bodies itself.
fn ambiguity(head: &Parts) -> Option<&'static str> {
    if head.version > Version::HTTP_11 {
        None
    } else if lacks_length(head) {
        Some("an upload over HTTP/1.0 requires a content-length: send one, or use HTTP/1.1")
    } else if !is_at_most_chunked(&head.headers) {
        Some("the only supported transfer-encoding is `chunked`, once: send the body unencoded")
    } else {
        None
    }
}

/// Returns `true` for an upload whose body is indistinguishable from an empty one.
///
/// An HTTP/1.0 client that omits `content-length` ends the body by closing the connection. The server sees an empty
/// body, and would acknowledge an empty file.
fn lacks_length(head: &Parts) -> bool {
    head.version < Version::HTTP_11
        && matches!(head.method, Method::PUT | Method::POST)
        && !head.headers.contains_key(header::CONTENT_LENGTH)
}

/// Returns `true` if no encoding remains once the server has decoded the chunks.
///
/// hyper checks only the last encoding: with `gzip, chunked` and `chunked, chunked`, the body keeps one that would be
/// stored.
fn is_at_most_chunked(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let chunked = |encoding: &HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
    encodings.next().is_none_or(chunked) && encodings.next().is_none()
}

/// A body that ends cleanly only if its end is confirmed.
struct Confirmed {
    body: Body,
    /// The number of bytes of the declared length that have not arrived yet.
    left: Option<u64>,
}

impl Confirmed {
    fn is_complete(&self) -> bool {
        self.left.map_or_else(|| self.body.is_end_stream(), |left| left == 0)
    }
}

impl HttpBody for Confirmed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let data = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            None if !self.is_complete() => return Poll::Ready(Some(Err(incomplete(self.left)))),
            Some(Err(_)) | None => 0,
        };
        match self.left.map(|left| left.checked_sub(data)) {
            Some(None) => {
                let message = "the body is longer than its content-length: send the correct length";
                Poll::Ready(Some(Err(Error::new(ErrorKind::IncompleteBody, message))))
            }
            left => {
                self.left = left.flatten();
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.is_complete()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn incomplete(left: Option<u64>) -> Error {
    let message = left.map_or_else(
        || {
            "the HTTP/2 stream ended without END_STREAM: the upload was cancelled, or a middleware in front hides the end \
             of the body. Send it again, with its content-length if this repeats"
                .to_owned()
        },
        |left| format!("the body ended {left} bytes before its content-length: send it again"),
    );
    Error::new(ErrorKind::IncompleteBody, message)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_ambiguous(method: &str, version: Version, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().method(method).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        ambiguity(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn accepts_one_chunked_encoding_at_most() {
        const CHUNKED: (&str, &str) = ("transfer-encoding", "Chunked");
        for (headers, ambiguous) in [
            (&[][..], false),
            (&[CHUNKED], false),
            (&[CHUNKED, CHUNKED], true),
            (&[("transfer-encoding", "gzip, chunked")], true),
            (&[("transfer-encoding", "gzip"), CHUNKED], true),
            (&[("transfer-encoding", "")], true),
        ] {
            assert_eq!(is_ambiguous("PUT", Version::HTTP_11, headers), ambiguous, "{headers:?}");
            assert!(!is_ambiguous("PUT", Version::HTTP_2, headers), "{headers:?}");
        }
    }

    #[test]
    fn a_declared_length_consists_of_digits() {
        assert_eq!(declared_len(&HeaderMap::new()), None);
        for (value, len) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("+7", None),
            ("-7", None),
            (" 7", None),
            ("7, 7", None),
            ("0x7", None),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from_static(value))]);
            assert_eq!(declared_len(&headers), len, "{value}");
        }
    }

    #[test]
    fn requires_a_length_of_an_upload_over_http_1_0() {
        const LENGTH: (&str, &str) = ("content-length", "3");
        for (method, headers, ambiguous) in [
            ("PUT", &[][..], true),
            ("POST", &[], true),
            ("GET", &[], false),
            ("PUT", &[LENGTH], false),
        ] {
            assert_eq!(is_ambiguous(method, Version::HTTP_10, headers), ambiguous, "{method}");
        }
        assert!(!is_ambiguous("PUT", Version::HTTP_11, &[]));
    }
}
