use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    body::Body,
    error::{Error, Result},
};

/// The request's body, shared by the inner service, which reads it, and the future, which drains the rest.
///
/// They never read at the same time: the future drains only when it is the last to hold the body.
#[derive(Debug)]
pub(super) struct Shared(Arc<Mutex<Source>>);

#[derive(Debug)]
struct Source {
    body: Body,
    rest: Rest,
    /// The number of bytes that may still be drained.
    budget: u64,
    has_trailers: bool,
}

/// The state of the part of a body that has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// The client is sending it.
    Arriving,
    /// The client waits for `100 Continue` before it sends it.
    Withheld,
    /// The body ended with an error. The rest may still arrive, but is not read.
    Failed,
    /// The body has ended.
    Ended,
}

impl Shared {
    pub(super) fn new(body: Body, expects_continue: bool, budget: u64) -> Self {
        Self(Arc::new(Mutex::new(Source {
            body,
            rest: if expects_continue {
                Rest::Withheld
            } else {
                Rest::Arriving
            },
            budget,
            has_trailers: false,
        })))
    }

    /// Returns the half for the inner service.
    pub(super) fn lend(&self) -> Body {
        Body::new(Lent(Arc::clone(&self.0)))
    }

    /// Reads and drops the rest, unless the client withholds it. Returns `true` if the connection can be reused.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        // The handler moved the body into a task of its own, and still reads it.
        let Some(source) = Arc::get_mut(&mut self.0) else {
            return Poll::Ready(true);
        };
        let source = source.get_mut().unwrap_or_else(PoisonError::into_inner);
        while source.rest == Rest::Arriving && !source.body.is_end_stream() {
            if let Some(Ok(frame)) = ready!(source.poll_frame(cx)) {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                match source.budget.checked_sub(len) {
                    Some(left) => source.budget = left,
                    None => return Poll::Ready(false),
                }
            }
        }
        // hyper also accepts a bare LF as the end of a trailer line, and skips what it does not understand: another
        // parser may see the end of the trailers elsewhere.
        Poll::Ready(!source.has_trailers && !matches!(source.rest, Rest::Withheld | Rest::Failed))
    }
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => self.has_trailers |= frame.is_trailers(),
            Some(Err(_)) => self.rest = Rest::Failed,
            None => self.rest = Rest::Ended,
        }
        Poll::Ready(frame)
    }
}

/// The half of the body that the inner service reads.
struct Lent(Arc<Mutex<Source>>);

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let mut source = self.lock();
        if source.rest == Rest::Withheld {
            source.rest = Rest::Arriving;
        }
        source.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
