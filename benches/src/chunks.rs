//! Bodies in memory, in chunks of a chosen size, and functions that read them.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;

/// A body whose chunks are always ready.
#[derive(Debug)]
pub struct Chunks {
    rest: Bytes,
    size: usize,
}

impl Chunks {
    /// Splits `content` into chunks of `size` bytes without copying.
    #[must_use]
    pub fn new(content: &Bytes, size: usize) -> Self {
        Self {
            rest: content.clone(),
            size,
        }
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.size.min(self.rest.len());
        let data = self.rest.split_to(chunk);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }
}

/// Reads `body` to its end, and returns its length.
pub async fn length<B>(body: B) -> usize
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let mut body = pin!(body);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame
            .unwrap()
            .data_ref()
            .map_or(0, |data| std::hint::black_box(data).len());
    }
    length
}

/// Polls a future that is ready at once, without the cost of a runtime.
pub fn now<T>(ready: impl Future<Output = T>) -> T {
    let mut ready = pin!(ready);
    match ready.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future is not ready"),
    }
}
