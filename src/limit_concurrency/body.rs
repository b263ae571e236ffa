use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::permit::Permit;
use crate::{
    body::Body,
    error::{Error, Result},
};

/// The body of a response, which holds its permit until it has ended.
pub(super) struct PermitBody {
    body: Body,
    permit: Option<Permit>,
}

impl PermitBody {
    pub(super) fn new(body: Body, permit: Permit) -> Self {
        Self {
            body,
            permit: Some(permit),
        }
    }
}

impl HttpBody for PermitBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Self { body, permit } = self.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || body.is_end_stream() {
            *permit = None;
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
