//! Wrappers of bodies: [`Watched`] records how an upload ends, [`ExactLength`] ensures the length of a fetched file.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
};

/// The end of an upload's body, as the store saw it.
pub(super) struct Watch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    read: u64,
    end: Option<Result<()>>,
}

impl Watch {
    /// Watches `body`.
    pub(super) fn over(body: Body) -> (Self, Body) {
        let state = Arc::<Mutex<State>>::default();
        let watched = Watched {
            body,
            state: Arc::clone(&state),
        };
        (Self(state), Body::new(watched))
    }

    /// Returns the error that the body ended with, if it did.
    pub(super) fn error(&self) -> Option<Error> {
        self.lock().end.clone()?.err()
    }

    /// Returns the length of the body, if it ended cleanly.
    pub(super) fn complete_len(&self) -> Option<u64> {
        let state = self.lock();
        matches!(state.end, Some(Ok(()))).then_some(state.read)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    body: Body,
    state: Arc<Mutex<State>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = &state.end {
            return Poll::Ready(Some(Err(error.clone())));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                state.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                // A store may stop reading once it has all of a body of known length.
                if self.body.is_end_stream() {
                    state.end = Some(Ok(()));
                }
            }
            Some(Err(error)) => state.end = Some(Err(error.clone())),
            None => state.end = Some(Ok(())),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(state.end, Some(Ok(())))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A fetched file, which ends with an error if the store returns a length other than the one it announced.
pub(super) struct ExactLength {
    body: Body,
    left: u64,
    chunked: bool,
}

impl ExactLength {
    /// Wraps `body`, which must have `len` bytes. With `chunked` the length is hidden from the server, so that the
    /// response has no `content-length`.
    pub(super) fn new(body: Body, len: u64, chunked: bool) -> Self {
        Self {
            body,
            left: len,
            chunked,
        }
    }
}

impl HttpBody for ExactLength {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose()?;
        let read = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len) as u64;
        match self.left.checked_sub(read) {
            Some(left) if frame.is_some() || left == 0 => {
                self.left = left;
                Poll::Ready(frame.map(Ok))
            }
            _ => {
                let message = "the store returned fewer or more bytes than it announced";
                Poll::Ready(Some(Err(Error::new(ErrorKind::Internal, message))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.chunked {
            SizeHint::default()
        } else {
            SizeHint::with_exact(self.left)
        }
    }
}
