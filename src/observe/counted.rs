use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::{
    body::Body,
    error::{Error, Result},
};

/// Number of bytes read from a request body. Clones share the counter.
#[derive(Clone, Default)]
pub(super) struct BytesIn(Arc<AtomicU64>);

impl BytesIn {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A request body that counts the bytes read from it.
pub(super) struct Counted {
    body: Body,
    bytes: BytesIn,
}

impl Counted {
    /// Counts the bytes of `body`, unless it is empty.
    pub(super) fn over(body: Body, bytes: BytesIn) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Self { body, bytes })
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Self { body, bytes } = self.get_mut();
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let len = frame.data_ref().map_or(0, |data| data.len() as u64);
            bytes.0.fetch_add(len, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
