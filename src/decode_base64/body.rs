//! [`Decoded`]: the decoded form of a base64 body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::{
    decoder::{Decoder, Fault},
    detect::Reason,
};
use crate::{
    body::{Body, poll_data},
    error::{Error, ErrorKind, Result},
};

/// The maximum number of bytes decoded at once.
const CHUNK: usize = 64 << 10;

/// A base64 body, decoded as it is read.
pub(super) struct Decoded {
    body: Body,
    decoder: Decoder,
    /// Bytes that were read from the body and not decoded yet.
    ahead: Bytes,
    reason: Reason,
}

impl Decoded {
    /// Decodes `ahead`, which was already read from `body`, and the rest of the body.
    pub(super) fn new(ahead: Bytes, body: Body, reason: Reason) -> Self {
        Self {
            body,
            decoder: Decoder::default(),
            ahead,
            reason,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.ahead.is_empty() {
                let Some(data) = ready!(poll_data(Pin::new(&mut self.body), cx)).transpose()? else {
                    let end = self.decoder.finish().map_err(|fault| explain(fault, self.reason));
                    return Poll::Ready(end.map(|()| None));
                };
                self.ahead = data;
            }
            let mut chunk = self.ahead.split_to(self.ahead.len().min(CHUNK));
            if self.reason == Reason::TransferEncoding {
                chunk = without_space(chunk);
            }
            let data = self
                .decoder
                .decode(&chunk)
                .map_err(|fault| explain(fault, self.reason))?;
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_data(cx)
            .map(|data| data.transpose().map(|data| data.map(Frame::data)))
    }
}

/// Removes white space from `chunk`: RFC 2045 breaks base64 into lines of at most 76 characters.
fn without_space(chunk: Bytes) -> Bytes {
    let is_space = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | b'\t');
    if chunk.iter().any(is_space) {
        chunk.iter().copied().filter(|byte| !is_space(byte)).collect()
    } else {
        chunk
    }
}

fn explain(fault: Fault, reason: Reason) -> Error {
    let fault = match fault {
        Fault::Byte { offset } => format!("the byte at offset {offset} is not base64"),
        Fault::Length { len } => format!("its length of {len} bytes is not a multiple of four"),
    };
    let hint = match reason {
        Reason::TransferEncoding => {
            "the content-transfer-encoding of its part is base64 (offsets do not count white space)"
        }
        Reason::Declared => {
            "this service expects base64: set base64_encode_data in KAZOO, or change the mode of this service"
        }
        Reason::Start => "its start consists of base64 only; if the media is not base64, switch the decoding off",
    };
    Error::new(
        ErrorKind::InvalidBase64,
        format!("the media is invalid base64: {fault}; {hint}"),
    )
}
