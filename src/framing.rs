//! The end of a request's body: the requests that leave it open, and a guard where a server does not report it.

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

/// Marks a request whose body has its guard already.
///
/// A layer further in sees a body that a layer further out made, whose length is no longer the declared one.
#[derive(Clone, Copy, Debug)]
struct Guarded;

/// Takes the body of the request with this `head`, and makes sure that its end can be trusted.
///
/// Every service that reads a body calls this first. The body that comes out ends cleanly only if all of it has arrived:
///
/// - over HTTP/1.1, hyper ends a body with an error unless it has seen the declared length or the last chunk;
/// - over HTTP/1.0, an upload without `content-length` is refused;
/// - over HTTP/2 and later, hyper ends a body that the client resets with `NO_ERROR` as if it were complete. Here the end
///   counts if the declared length has arrived, or if [`is_end_stream`](HttpBody::is_end_stream) confirms it.
pub(crate) fn guard<B>(head: &mut Parts, body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let body = Body::new(body);
    if head.extensions.insert(Guarded).is_some() {
        return body;
    }
    if let Some(reason) = ambiguity(head) {
        return Body::failed(Error::new(ErrorKind::InvalidRequest, reason));
    }
    if head.version <= Version::HTTP_11 || body.is_end_stream() {
        return body;
    }
    let declared = head.headers.get(header::CONTENT_LENGTH);
    Body::new(Confirmed {
        body,
        left: declared.and_then(|len| len.to_str().ok()?.parse().ok()),
    })
}

/// The reason why the end of this request's body is ambiguous, if it is.
///
/// A proxy in front may see the end elsewhere. HTTP/2 frames bodies by itself.
pub(crate) fn ambiguity(head: &Parts) -> Option<&'static str> {
    if head.version > Version::HTTP_11 {
        None
    } else if lacks_length(head) {
        Some("an upload by HTTP/1.0 has to say its content-length; nothing was stored")
    } else if !is_at_most_chunked(&head.headers) {
        Some("the only transfer-encoding that is understood is `chunked`, once; nothing was stored")
    } else {
        None
    }
}

/// Whether this is an upload whose body cannot be told from none.
///
/// A version 1.0 client that leaves `content-length` out ends the body by closing the connection; the server sees an
/// empty body, and would acknowledge an empty file.
fn lacks_length(head: &Parts) -> bool {
    head.version < Version::HTTP_11
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

/// A body over HTTP/2 or later, which ends cleanly only if its end is confirmed.
struct Confirmed {
    body: Body,
    /// The bytes of the declared length that have not arrived yet.
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
                let message = "the body is longer than its content-length; nothing was stored";
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
             of the body; nothing was stored. Send it again, with its content-length if this repeats"
                .to_owned()
        },
        |left| format!("the body ended {left} bytes before its content-length; nothing was stored. Send it again"),
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
    fn requires_a_length_of_an_upload_by_http_1_0() {
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
