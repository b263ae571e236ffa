//! Bodies that are watched on their way: in, for their clean end; out, for their length.

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

/// What an upload's body came to.
pub(super) struct Watch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    read: u64,
    end: Option<Result<()>>,
}

impl Watch {
    /// Watches `body`, which has `len` bytes if that is known.
    pub(super) fn over(body: Body, len: Option<u64>) -> (Self, Body) {
        let state = Arc::<Mutex<State>>::default();
        let watched = Watched {
            body,
            len,
            state: Arc::clone(&state),
        };
        (Self(state), Body::new(watched))
    }

    /// The error that the body ended with, if it did.
    pub(super) fn error(&self) -> Option<Error> {
        self.lock().end.clone()?.err()
    }

    /// How many bytes the body had, if it ended cleanly.
    pub(super) fn whole(&self) -> Option<u64> {
        let state = self.lock();
        matches!(state.end, Some(Ok(()))).then_some(state.read)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    body: Body,
    len: Option<u64>,
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
                // A body of known length may not be asked for its end once all of it is there.
                if self.body.is_end_stream() && self.len.is_none_or(|len| len == state.read) {
                    state.end = Some(Ok(()));
                }
            }
            Some(Err(error)) => state.end = Some(Err(error.clone())),
            None => {
                if let Some(len) = self.len.filter(|len| *len != state.read) {
                    let message = format!(
                        "the body has {} bytes where its head says {len}; nothing was stored",
                        state.read
                    );
                    let error = Error::new(ErrorKind::IncompleteBody, message);
                    state.end = Some(Err(error.clone()));
                    return Poll::Ready(Some(Err(error)));
                }
                state.end = Some(Ok(()));
            }
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

/// A stored file's bytes on their way out, which end with an error unless there are as many as promised.
pub(super) struct Exactly {
    body: Body,
    left: u64,
    chunked: bool,
}

impl Exactly {
    /// `body`, which has `len` bytes; with `chunked` that is kept from the server, so that it answers without
    /// `content-length`.
    pub(super) fn new(body: Body, len: u64, chunked: bool) -> Self {
        Self {
            body,
            left: len,
            chunked,
        }
    }
}

impl HttpBody for Exactly {
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
                let message = "the store gave another number of bytes than it had promised";
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
