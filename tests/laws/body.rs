//! Bodies whose chunks, pauses and end a test chooses.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What a [`Script`] does when it is polled.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    /// Not ready yet, but soon.
    Pause,
    /// An error, as when the connection is cut.
    Fail,
}

/// A body that does one step after the other and then ends.
///
/// Behind an error it ends as well, as hyper's does: a reader who goes on after the error meets a clean end.
#[derive(Debug)]
pub(crate) struct Script {
    steps: VecDeque<Step>,
    hint: SizeHint,
    /// Whether it says so once it is at its end.
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

    /// The same body, which says that it is at its end once it is.
    pub(crate) fn confirmed(mut self) -> Self {
        self.confirms = true;
        self
    }

    /// The same body, knowing beforehand how long it is.
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

    /// As little as possible: only an empty script says so, or one that is confirmed, and a reader has to find every other
    /// end itself.
    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && (self.confirms || self.hint.exact() == Some(0))
    }

    fn size_hint(&self) -> SizeHint {
        self.hint
    }
}
