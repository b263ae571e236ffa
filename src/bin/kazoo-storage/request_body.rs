//! [`RequestBody`]: the body of a request, and whether it was read to its end.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A request's body that tells whether it was read to its end.
///
/// hyper closes a connection when the answer is ready before the body has been read, and does not say so in the
/// answer. Whoever answers has to know, to say it.
pub(crate) struct RequestBody {
    incoming: Incoming,
    whole: Whole,
}

/// Whether a [`RequestBody`] was read to its end.
#[derive(Clone)]
pub(crate) struct Whole(Arc<AtomicBool>);

impl Whole {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming) -> (Self, Whole) {
        let whole = Whole(Arc::new(AtomicBool::new(incoming.is_end_stream())));
        let body = Self {
            incoming,
            whole: whole.clone(),
        };
        (body, whole)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        if frame.is_none() || self.incoming.is_end_stream() {
            self.whole.set();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
