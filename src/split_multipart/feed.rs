//! Feeds `multer` at a pace.
//!
//! Left alone, `multer` drains an always-ready body into memory before it parses, scans what it has again with every
//! chunk, and takes a preamble or a part header of any size. So the body is handed to it one chunk at a time, and only
//! so many bytes while no part has started.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;

use crate::{
    body::{Body, poll_data},
    error::{Error, ErrorKind, Result},
};

/// The most bytes handed over at once. `multer` keeps them in a buffer of its own that grows to several times as much.
const CHUNK: usize = 16 << 10;

/// The most bytes before a part, its headers among them, and the most after the last one.
const MAX_BETWEEN_PARTS: usize = 64 << 10;

/// The request's body, shared by the parser, which takes chunks, and its driver, which says when.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<State>>);

struct State {
    body: Body,
    /// Read from the body, and not handed over yet.
    ahead: Bytes,
    /// Whether the next chunk may be taken.
    open: bool,
    /// Whether the body had nothing to give when it was last asked.
    starved: bool,
    ended: bool,
    /// Bytes handed over since the last part began or ended, unless one is being read.
    between_parts: Option<usize>,
}

impl Feed {
    /// A feed of `ahead`, which was read from the body already, and the body.
    pub(super) fn new(ahead: Bytes, body: Body) -> Self {
        Self(Arc::new(Mutex::new(State {
            body,
            ahead,
            open: false,
            starved: false,
            ended: false,
            between_parts: Some(0),
        })))
    }

    /// Says whether a part is being read.
    pub(super) fn in_part(&self, in_part: bool) {
        self.lock().between_parts = (!in_part).then_some(0);
    }

    /// Polls a parser that reads from this feed until it is ready or the body has nothing to give.
    pub(super) fn drive<T>(
        &self,
        cx: &mut Context<'_>,
        mut parser: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Option<T>> {
        loop {
            {
                let mut state = self.lock();
                state.open = true;
                state.starved = false;
            }
            if let Poll::Ready(parsed) = parser(cx) {
                return Poll::Ready(Some(parsed));
            }
            let state = self.lock();
            if state.starved {
                return Poll::Pending;
            }
            if state.open || state.ended {
                // It waits for more than the body has, or for nothing that the body could give.
                return Poll::Ready(None);
            }
        }
    }

    /// Reads the body to its end behind the closing delimiter.
    pub(super) fn poll_finish(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut state = self.lock();
        while !state.ended {
            state.open = true;
            ready!(state.poll_chunk(cx)).transpose()?;
        }
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        if !self.open {
            // Not a wait for the body: the driver asks again, so nothing needs to wake it.
            return Poll::Pending;
        }
        if self.between_parts.is_some_and(|bytes| bytes > MAX_BETWEEN_PARTS) {
            return Poll::Ready(Some(Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "more than {MAX_BETWEEN_PARTS} bytes of the multipart body belong to no part: a preamble, the headers of a part, or an epilogue"
                ),
            ))));
        }
        while self.ahead.is_empty() {
            self.starved = true;
            let data = ready!(poll_data(Pin::new(&mut self.body), cx));
            self.starved = false;
            match data {
                Some(Ok(data)) => self.ahead = data,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
            }
        }
        self.open = false;
        let chunk = self.ahead.split_to(self.ahead.len().min(CHUNK));
        if let Some(bytes) = &mut self.between_parts {
            *bytes += chunk.len();
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Stream for Feed {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.lock().poll_chunk(cx)
    }
}
