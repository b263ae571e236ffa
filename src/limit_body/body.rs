use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
};

/// A body that ends with an error after its first `max` bytes.
pub(super) struct Limited {
    body: Body,
    max: u64,
    read: u64,
}

impl Limited {
    pub(super) fn new(body: Body, max: u64) -> Self {
        Self { body, max, read: 0 }
    }

    fn is_over(&self) -> bool {
        self.read > self.max
    }

    /// Returns the part of `frame` that is within the limit.
    ///
    /// That part may contain an error that an inner layer reports. Dropping it would make the response depend on how
    /// the body was split into chunks.
    fn within(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>> {
        let left = self.max.saturating_sub(self.read);
        self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if !self.is_over() {
            return Ok(frame);
        }
        match (frame.into_data(), usize::try_from(left)) {
            (Ok(mut data), Ok(left @ 1..)) => {
                data.truncate(left);
                Ok(Frame::data(data))
            }
            _ => Err(too_large(self.max)),
        }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.is_over() {
            return Poll::Ready(Some(Err(too_large(self.max))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        Poll::Ready(frame.map(|frame| self.within(frame?)))
    }

    fn is_end_stream(&self) -> bool {
        !self.is_over() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(super) fn too_large(max: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the body exceeds the limit of {max} bytes. Raise the limit to store it"),
    )
}
