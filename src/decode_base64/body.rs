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

/// Maximum number of bytes that are decoded at once.
const CHUNK: usize = 64 << 10;

/// The decoded form of a base64 body.
pub(super) struct Decoded {
    body: Body,
    decoder: Decoder,
    /// The bytes that have been read and not decoded yet.
    ahead: Bytes,
    reason: Reason,
}

impl Decoded {
    /// Decodes `ahead`, which was already read from `body`, and the rest of `body`.
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

/// Joins the lines of `chunk`: RFC 2045 breaks base64 into lines of at most 76 letters.
fn without_space(chunk: Bytes) -> Bytes {
    let is_space = |byte: &u8| matches!(byte, b'\r' | b'\n' | b' ' | b'\t');
    if chunk.iter().any(is_space) {
        chunk.iter().copied().filter(|byte| !is_space(byte)).collect()
    } else {
        chunk
    }
}

fn explain(fault: Fault, reason: Reason) -> Error {
    let what = match fault {
        Fault::Byte { offset } => format!("the byte at offset {offset} is not base64"),
        Fault::Length { len } => {
            format!("it is {len} bytes long, not a multiple of four: the text ends at offset {len} within a group")
        }
    };
    let why = match reason {
        Reason::TransferEncoding => {
            "the content-transfer-encoding of its part says base64 (white space is not counted)"
        }
        Reason::Declared => "this service is set to expect base64 (base64_encode_data); set both sides alike",
        Reason::Start => "it starts like base64; if it is not, switch decoding off",
    };
    Error::new(
        ErrorKind::InvalidBase64,
        format!("the media is broken base64: {what}. Nothing was stored; {why}"),
    )
}
