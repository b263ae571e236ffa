//! Bodies whose chunks, pauses and end the test chooses.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// A step of a [`Script`].
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Returns `Pending` once.
    Pause,
    /// Fails, as when the connection is cut.
    Fail,
}

/// A body that does one step after the other and then ends.
///
/// It also ends after an error, as hyper's body does: a reader that continues after the error finds a clean end.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    hint: SizeHint,
    /// `true` if `is_end_stream` confirms the end.
    confirms: bool,
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            hint: SizeHint::default(),
            confirms: false,
        }
    }

    /// Confirms the end by `is_end_stream`.
    pub(crate) fn confirmed(mut self) -> Self {
        self.confirms = true;
        self
    }

    /// Reports the exact length by `size_hint`.
    pub(crate) fn sized(mut self) -> Self {
        let len = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            Step::Trailers(_) | Step::Pause | Step::Fail => 0,
        });
        self.hint = SizeHint::with_exact(len.sum());
        self
    }
}

impl HttpBody for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => {
                if let Some(exact) = self.hint.exact() {
                    self.hint = SizeHint::with_exact(exact.saturating_sub(data.len() as u64));
                }
                Some(Ok(Frame::data(data)))
            }
            Some(Step::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Step::Pause) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(Step::Fail) => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }

    /// Confirms the end only of an empty or confirmed script.
    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && (self.confirms || self.hint.exact() == Some(0))
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}
