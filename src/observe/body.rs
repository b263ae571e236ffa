use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::Method;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{End, event::Record};
use crate::{
    body::Body,
    error::{Error, Result},
};

/// A response body whose end is the end of the request.
pub(super) struct Observed {
    body: Body,
    record: Record,
}

impl Observed {
    pub(super) fn new(body: Body, mut record: Record) -> Self {
        // A server polls neither a body that is already at its end nor the body of a response to HEAD.
        if body.is_end_stream() || record.method == Method::HEAD {
            record.end = End::Complete;
        }
        Self { body, record }
    }
}

impl HttpBody for Observed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Self { body, record } = self.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => record.bytes_out += frame.data_ref().map_or(0, |data| data.len() as u64),
            Some(Err(error)) => {
                record.end = End::Failed;
                record.error = Some(error.clone());
            }
            None => record.end = End::Complete,
        }
        if body.is_end_stream() {
            record.end = End::Complete;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
