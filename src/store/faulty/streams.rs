//! The body of a fetch and the listing of a [`FaultyStore`](super::FaultyStore).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project::pin_project;

use crate::{
    body::Body,
    error::{Error, Result},
    store::BlobEntry,
};

/// A body that ends with an error before its end.
pub(super) struct Interrupted {
    pub(super) body: Body,
    /// The number of bytes before the error.
    pub(super) intact: u64,
    pub(super) error: Error,
}

impl HttpBody for Interrupted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if self.intact == 0 {
            return Poll::Ready(Some(Err(self.error.clone())));
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        frame.map_ok(|frame| {
            frame.map_data(|mut data| {
                data.truncate(usize::try_from(self.intact).unwrap_or(usize::MAX));
                self.intact -= data.len() as u64;
                data
            })
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A listing that begins with a fault.
#[pin_project]
pub(super) struct Listing<L> {
    pub(super) fault: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
    /// `None` after an error.
    #[pin]
    pub(super) entries: Option<L>,
}

impl<L: Stream<Item = Result<BlobEntry>>> Stream for Listing<L> {
    type Item = Result<BlobEntry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        if let Some(fault) = this.fault {
            let passed = ready!(fault.as_mut().poll(cx));
            *this.fault = None;
            if let Err(error) = passed {
                this.entries.set(None);
                return Poll::Ready(Some(Err(error)));
            }
        }
        this.entries
            .as_pin_mut()
            .map_or(Poll::Ready(None), |entries| entries.poll_next(cx))
    }
}
