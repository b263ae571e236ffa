use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{LimitBody, pace::Pace};
use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
    progress::Progress,
};

/// The request's body, shared by the inner service, which reads it, and the future, which drains what is left.
///
/// They never read at the same time: the future drains only when it is the last to hold it.
pub(super) struct Shared(Arc<Mutex<Limited>>);

struct Limited {
    body: Body,
    read: u64,
    max: u64,
    rest: Rest,
    /// Whether another reader may see the body's end elsewhere.
    doubtful: bool,
    pace: Option<Pace>,
}

/// What is known of the part of a body that was not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It is on its way.
    Coming,
    /// The client sends it only once somebody reads it.
    Awaited,
    /// It arrived too slowly, or gave way to another request. It may yet come, and nobody waits for it.
    Late,
    /// There is none.
    Ended,
}

pub(super) fn too_large(max: u64) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "the body is over the limit of {max} bytes; nothing was stored. Raise the server's limit if this is meant to fit"
        ),
    )
}

impl Shared {
    /// Reports the arrival rate of the body to `progress`, if it is limited.
    pub(super) fn new(body: Body, limits: LimitBody, awaited: bool, progress: Progress) -> Self {
        Self(Arc::new(Mutex::new(Limited {
            body,
            read: 0,
            max: limits.max,
            rest: if awaited { Rest::Awaited } else { Rest::Coming },
            doubtful: false,
            pace: limits.stall_timeout.map(|window| Pace::new(window, progress)),
        })))
    }

    /// The same of a request whose end is in doubt.
    pub(super) fn doubtful(self) -> Self {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).doubtful = true;
        self
    }

    /// The half for the inner service.
    pub(super) fn lend(&self) -> Body {
        Body::new(Lent(Arc::clone(&self.0)))
    }

    /// Reads and drops what is left, `bound` bytes at most, unless it was never asked for. Ready with whether the body has
    /// ended, beyond doubt.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, bound: &mut u64) -> Poll<bool> {
        // Somebody still reads: a handler that moved the body into a task of its own.
        let Some(limited) = Arc::get_mut(&mut self.0) else {
            return Poll::Ready(true);
        };
        let limited = limited.get_mut().unwrap_or_else(PoisonError::into_inner);
        while limited.rest == Rest::Coming && !limited.body.is_end_stream() {
            let Some(Ok(frame)) = ready!(limited.poll_frame(cx)) else {
                continue;
            };
            match bound.checked_sub(len(&frame)) {
                Some(left) => *bound = left,
                None => return Poll::Ready(false),
            }
        }
        Poll::Ready(!limited.doubtful && !matches!(limited.rest, Rest::Awaited | Rest::Late))
    }
}

impl Limited {
    /// The next frame of the body, if it comes in time.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let frame = match (Pin::new(&mut self.body).poll_frame(cx), &mut self.pace) {
            (Poll::Ready(frame), None) => frame,
            (Poll::Ready(frame), Some(pace)) => {
                pace.brought(frame.as_ref().and_then(|frame| frame.as_ref().ok()).map_or(0, len));
                frame
            }
            (Poll::Pending, Some(pace)) => {
                let error = ready!(pace.poll_late(cx));
                self.rest = Rest::Late;
                return Poll::Ready(Some(Err(error)));
            }
            (Poll::Pending, None) => return Poll::Pending,
        };
        match &frame {
            // hyper takes a line of trailers to end at a bare LF too, and skips what it does not understand.
            Some(Ok(frame)) => self.doubtful |= frame.is_trailers(),
            Some(Err(_)) | None => self.rest = Rest::Ended,
        }
        Poll::Ready(frame)
    }

    /// What of `frame` is within the limit. What is behind it must not hide a fault in front of it, or the answer would
    /// hang on how the body was cut.
    fn within(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>> {
        let left = self.max.saturating_sub(self.read);
        self.read += len(&frame);
        if self.read <= self.max {
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

/// How many bytes of data are in `frame`.
fn len(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

/// The half of the body that the inner service reads.
struct Lent(Arc<Mutex<Limited>>);

impl Lent {
    fn lock(&self) -> MutexGuard<'_, Limited> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let mut limited = self.lock();
        if limited.read > limited.max {
            return Poll::Ready(Some(Err(too_large(limited.max))));
        }
        if limited.rest == Rest::Awaited {
            limited.rest = Rest::Coming;
        }
        Poll::Ready(match ready!(limited.poll_frame(cx)) {
            Some(Ok(frame)) => Some(limited.within(frame)),
            end => end,
        })
    }

    fn is_end_stream(&self) -> bool {
        let limited = self.lock();
        limited.read <= limited.max && limited.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
