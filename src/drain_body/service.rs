use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Body as HttpBody;

use super::{DrainBody, body::Shared};
use crate::{
    body::Body,
    error::BoxError,
    exchange::{Begun, Exchange, Finish},
};

/// Holds a response back until the rest of the request's body is read.
#[derive(Debug)]
pub struct Drain {
    body: Shared,
    version: Version,
    is_reusable: bool,
}

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Exchange<B> for DrainBody {
    type Body = Body;
    type Finish = Drain;

    fn begin(&self, request: Request<B>) -> Begun<Body, Drain> {
        let (head, body) = request.into_parts();
        let body = Body::new(body);
        if body.is_end_stream() {
            return Begun::Request(Request::from_parts(head, body), None);
        }
        let body = Shared::new(body, expects_continue(&head.headers), self.max);
        let lent = body.lend();
        let drain = Drain {
            body,
            version: head.version,
            is_reusable: true,
        };
        Begun::Request(Request::from_parts(head, lent), Some(drain))
    }
}

impl Finish for Drain {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // HTTP/2 resets the stream alone.
        self.is_reusable = ready!(self.body.poll_drain(cx)) || self.version > Version::HTTP_11;
        Poll::Ready(())
    }

    fn finish(self, mut response: Response<Body>) -> Response<Body> {
        if !self.is_reusable {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// Returns `true` if the client sends the body only once it is read.
fn expects_continue(headers: &HeaderMap) -> bool {
    // hyper uses the last value.
    let expect = headers.get_all(header::EXPECT).iter().next_back();
    expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}
