//! [`ObjectBody`]: streams the content of an object.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::{
    deadline::{Deadline, ItemDeadline},
    error::{Task, damaged, failed},
};
use crate::error::{Error, Result};

pub(super) type Stream = BoxStream<'static, object_store::Result<Bytes>>;

/// The content at the start of a stream. The stream may continue with a trailer, which is read and dropped.
///
/// The body ends with an error if the engine returns fewer or more bytes than announced, or none for longer than the
/// deadline.
pub(super) struct ObjectBody {
    stream: Stream,
    item_deadline: ItemDeadline,
    /// The number of content bytes that are still expected.
    content_left: u64,
    /// The number of trailer bytes that are still expected. They are read so that the connection can be reused.
    trailer: u64,
}

impl ObjectBody {
    pub(super) fn new(stream: Stream, len: u64, trailer: u64, deadline: Deadline) -> Self {
        Self {
            stream,
            item_deadline: ItemDeadline::new(deadline, Task::Read),
            content_left: len,
            trailer,
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
            let Some(item) = ready!(this.item_deadline.poll(item, cx))? else {
                return Poll::Ready(
                    (this.content_left > 0 || this.trailer > 0)
                        .then(|| Err(damaged("the object store returned fewer bytes than it announced"))),
                );
            };
            let mut data = item.map_err(|error| failed(Task::Read, &error))?;
            let content =
                data.split_to(usize::try_from(this.content_left).map_or(data.len(), |left| left.min(data.len())));
            this.content_left -= content.len() as u64;
            match this.trailer.checked_sub(data.len() as u64) {
                Some(trailer) => this.trailer = trailer,
                None => {
                    return Poll::Ready(Some(Err(damaged(
                        "the object store returned more bytes than it announced",
                    ))));
                }
            }
            if !content.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(content))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.content_left == 0 && self.trailer == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.content_left)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream::{self, StreamExt as _};
    use http_body_util::BodyExt as _;

    use super::*;

    /// Returns a body of `len` bytes of content and `trailer` bytes of trailer, from `chunks`.
    fn body(chunks: &[&'static str], len: u64, trailer: u64) -> ObjectBody {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))
            .collect();
        ObjectBody::new(
            stream::iter(chunks).boxed(),
            len,
            trailer,
            Deadline(Duration::from_secs(1)),
        )
    }

    #[tokio::test]
    async fn drops_the_trailer() {
        for chunks in [
            &["ID3{}"][..],
            &["ID", "3{", "}"],
            &["ID3", "{}"],
            &["I", "D", "3", "{", "}"],
        ] {
            let read = body(chunks, 3, 2).collect().await.unwrap();
            assert_eq!(read.to_bytes(), "ID3", "{chunks:?}");
        }
    }

    #[tokio::test]
    async fn reports_a_length_that_differs_from_the_announced_one() {
        for (chunks, len, trailer) in [
            (&["ID"][..], 3, 0),
            (&[], 3, 0),
            (&["ID3", "{"], 3, 2),
            (&["ID3"], 3, 2),
            (&["ID3", "x"], 3, 0),
            (&["ID3{}x"], 3, 2),
        ] {
            assert!(body(chunks, len, trailer).collect().await.is_err(), "{chunks:?}");
        }
    }

    #[tokio::test]
    async fn ends_when_all_bytes_are_read() {
        let mut whole = body(&["ID", "3", "{}"], 3, 2);
        for (given, left, ended) in [(Some("ID"), 1, false), (Some("3"), 0, false), (None, 0, true)] {
            assert!(!whole.is_end_stream(), "{given:?}");
            let frame = whole.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
            assert_eq!(frame.as_deref(), given.map(str::as_bytes));
            assert_eq!(
                (whole.size_hint().exact(), whole.is_end_stream()),
                (Some(left), ended),
                "{given:?}"
            );
        }
        assert!(body(&[], 0, 0).is_end_stream());
    }
}
