use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, header, request};
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    Base64, DecodeBase64,
    body::Decoded,
    detect::{Evidence, PREFIX, Plan, plan, reason},
};
use crate::{
    body::{Body, poll_data},
    error::{BoxError, Error, Result},
    framing::guard,
    metadata::MediaPart,
    rewrite::{Rewrite, Rewritten},
};

impl<B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static> Rewrite<B> for DecodeBase64 {
    type Body = Body;

    fn rewrite(&self, request: Request<B>) -> Rewritten<Body> {
        let (mut head, body) = request.into_parts();
        let body = match guard(&mut head, body) {
            Ok(body) => body,
            Err(error) => return error.into(),
        };
        let media_part = head.extensions.get::<MediaPart>().copied();
        if plan(self.mode, media_part) != Plan::Keep && matches!(head.method, Method::PUT | Method::POST) {
            Rewritten::later(decode(head, body, self.mode))
        } else {
            Rewritten::Request(Request::from_parts(head, body))
        }
    }
}

/// Reads the start of the body, and decodes the body if it is base64.
async fn decode(mut head: request::Parts, mut body: Body, mode: Base64) -> Result<Request<Body>> {
    let mut start = Bytes::new();
    let mut ended = false;
    while start.len() <= PREFIX && !ended {
        match poll_fn(|cx| poll_data(Pin::new(&mut body), cx)).await.transpose()? {
            // The first chunk usually suffices, and is not copied.
            Some(data) if start.is_empty() => start = data,
            Some(data) => {
                let mut longer = BytesMut::from(start);
                longer.extend_from_slice(&data);
                start = longer.freeze();
            }
            None => ended = true,
        }
    }
    // Removed, so that a second layer of this kind decodes nothing.
    let media_part = head.extensions.remove::<MediaPart>();
    let reason = reason(
        mode,
        &Evidence {
            // Independent of how the body is split into chunks.
            start: start.get(..PREFIX).unwrap_or(&start),
            whole: start.len() <= PREFIX,
            media_part,
            content_type: head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes),
        },
    );
    let Some(reason) = reason else {
        return Ok(Request::from_parts(head, Body::new(Restored { start, body })));
    };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.remove(header::TRANSFER_ENCODING);
    Ok(Request::from_parts(head, Body::new(Decoded::new(start, body, reason))))
}

/// A body whose start has already been read.
struct Restored {
    start: Bytes,
    body: Body,
}

impl HttpBody for Restored {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.start.is_empty() {
            Pin::new(&mut self.body).poll_frame(cx)
        } else {
            Poll::Ready(Some(Ok(Frame::data(mem::take(&mut self.start)))))
        }
    }

    fn is_end_stream(&self) -> bool {
        self.start.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let start = self.start.len() as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(start));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(start)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_restored_body_keeps_its_length_and_its_end() {
        let mut body = Restored {
            start: Bytes::from("start, "),
            body: Body::from("rest"),
        };
        assert_eq!(body.size_hint().exact(), Some(11));
        for expected in ["start, ", "rest"] {
            assert!(!body.is_end_stream());
            let data = poll_fn(|cx| poll_data(Pin::new(&mut body), cx)).await;
            assert_eq!(data.unwrap().unwrap(), expected);
        }
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}
