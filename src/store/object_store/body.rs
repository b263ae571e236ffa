//! An object's bytes on their way out.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    deadline::{Deadline, Patience},
    error::{Task, damaged, failed},
};
use crate::error::{Error, Result};

pub(super) type Stream = BoxStream<'static, object_store::Result<Bytes>>;

/// The content, from a stream that goes on behind it with what is not content.
///
/// It ends with an error if the engine gives less or more than it has promised, or nothing for longer than the
/// deadline.
pub(super) struct ObjectBody {
    stream: Stream,
    patience: Patience,
    /// How many bytes of content are still to come.
    left: u64,
    /// How many bytes come behind the content. They are read, so that the connection to the engine can be used again.
    behind: u64,
}

impl ObjectBody {
    pub(super) fn new(stream: Stream, len: u64, behind: u64, deadline: Deadline) -> Self {
        Self {
            stream,
            patience: Patience::new(deadline, Task::Read),
            left: len,
            behind,
        }
    }
}

impl HttpBody for ObjectBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let this = &mut *self;
        loop {
            let item = this.stream.as_mut().poll_next(cx);
            let Some(item) = ready!(this.patience.poll(item, cx))? else {
                return Poll::Ready(
                    (this.left > 0 || this.behind > 0)
                        .then(|| Err(damaged("the object store gave fewer bytes than it had promised"))),
                );
            };
            let mut data = item.map_err(|error| failed(Task::Read, &error))?;
            let content = data.split_to(usize::try_from(this.left).map_or(data.len(), |left| left.min(data.len())));
            this.left -= content.len() as u64;
            match this.behind.checked_sub(data.len() as u64) {
                Some(behind) => this.behind = behind,
                None => {
                    return Poll::Ready(Some(Err(damaged(
                        "the object store gave more bytes than it had promised",
                    ))));
                }
            }
            if !content.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(content))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.behind == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
