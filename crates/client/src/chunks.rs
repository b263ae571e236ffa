use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Maximum length of a chunk, in bytes: the connection copies one chunk at a time.
const MAX_LEN: usize = 16 * 1024;

/// A body in memory, sent in chunks so that hyper does not copy all of it at once.
pub(super) struct Chunks(Bytes);

impl Chunks {
    pub(super) fn new(content: Bytes) -> Self {
        Self(content)
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.0.len().min(MAX_LEN);
        let chunk = self.0.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
