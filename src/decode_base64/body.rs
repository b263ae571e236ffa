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

/// The most bytes decoded at once.
const CHUNK: usize = 64 << 10;

/// What a base64 body stands for.
pub(super) struct Decoded {
    body: Body,
    decoder: Decoder,
    /// Read from the body, and not decoded yet.
    ahead: Bytes,
    reason: Reason,
    /// The number of bytes read so far, and the declared length, if any.
    read: u64,
    declared: Option<u64>,
}

impl Decoded {
    /// What `ahead`, which was read from `body` already, and the rest of it stand for.
    pub(super) fn new(ahead: Bytes, body: Body, reason: Reason, declared: Option<u64>) -> Self {
        Self {
            body,
            decoder: Decoder::default(),
            read: ahead.len() as u64,
            ahead,
            reason,
            declared,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.ahead.is_empty() {
                let Some(data) = ready!(poll_data(Pin::new(&mut self.body), cx)).transpose()? else {
                    if let Some(declared) = self.declared.filter(|declared| *declared != self.read) {
                        let message = format!(
                            "the body has {} bytes where its head says {declared}; nothing was stored",
                            self.read
                        );
                        return Poll::Ready(Err(Error::new(ErrorKind::IncompleteBody, message)));
                    }
                    let end = self.decoder.finish().map_err(|fault| explain(fault, self.reason));
                    return Poll::Ready(end.map(|()| None));
                };
                self.read += data.len() as u64;
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
        Fault::Length { len } => format!(
            "it is {len} bytes long, which is no multiple of four: the text ends at offset {len} within a group"
        ),
    };
    let why = match reason {
        Reason::TransferEncoding => {
            "the content-transfer-encoding of its part says base64 (white space is not counted)"
        }
        Reason::Declared => "this service is set to expect base64 (base64_encode_data); set both sides alike",
        Reason::Start => "its start was nothing but base64; if it is not meant to be, switch the decoding off",
    };
    Error::new(
        ErrorKind::InvalidBase64,
        format!("the media is broken base64: {what}. Nothing was stored; {why}"),
    )
}
