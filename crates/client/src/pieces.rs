use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The longest piece, in bytes: what the connection copies at once.
const LONGEST: usize = 16 * 1024;

/// A body that is in memory, piece by piece, so that no copy of all of it is made on its way out.
pub(super) struct Pieces(Bytes);

impl Pieces {
    pub(super) fn of(content: Bytes) -> Self {
        Self(content)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let len = self.0.len().min(LONGEST);
        let piece = self.0.split_to(len);
        Poll::Ready((len > 0).then(|| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
