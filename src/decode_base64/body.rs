use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};

use super::{
    Base64,
    decoder::{Decoder, Fault},
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
    mode: Base64,
    /// How many bytes of base64 were read, and how many there must be if that was declared.
    read: u64,
    declared: Option<u64>,
}

impl Decoded {
    /// What `ahead`, which was read from `body` already, and the rest of it stand for.
    pub(super) fn new(ahead: Bytes, body: Body, mode: Base64, declared: Option<u64>) -> Self {
        Self {
            body,
            decoder: Decoder::default(),
            read: ahead.len() as u64,
            ahead,
            mode,
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
                    let end = self.decoder.finish().map_err(|fault| explain(fault, self.mode));
                    return Poll::Ready(end.map(|()| None));
                };
                self.read += data.len() as u64;
                self.ahead = data;
            }
            let chunk = self.ahead.split_to(self.ahead.len().min(CHUNK));
            let data = self.decoder.decode(&chunk).map_err(|fault| explain(fault, self.mode))?;
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

fn explain(fault: Fault, mode: Base64) -> Error {
    let what = match fault {
        Fault::Byte { offset } => format!("the byte at offset {offset} is not base64"),
        Fault::Length { len } => format!(
            "it is {len} bytes long, which is no multiple of four: the text ends at offset {len} within a group"
        ),
    };
    let why = match mode {
        Base64::Declared => "this service is set to expect base64 (base64_encode_data); set both sides alike",
        Base64::Detect | Base64::Off => {
            "its start was nothing but base64; if it is not meant to be, switch the decoding off"
        }
    };
    Error::new(
        ErrorKind::InvalidBase64,
        format!("the media is broken base64: {what}. Nothing was stored; {why}"),
    )
}
