//! The parts of a multipart body, in order.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use memchr::memmem;

use super::{
    delimiter::Delimiter,
    headers::{HeadersEnd, PartHeaders},
    unread::{Token, Unread},
};
use crate::{
    blocks::Blocks,
    body::{Body, poll_data},
    error::{Error, ErrorKind, Result},
};

/// The maximum length in bytes of a preamble, of the headers of a part, and of an epilogue.
const MAX_BETWEEN_PARTS: usize = 16 << 10;

/// A multipart body, read part by part.
pub(super) struct Parts {
    body: Body,
    delimiter: Delimiter,
    unread: Unread,
    /// `true` if the body has no more bytes than are in `unread`.
    ended: bool,
    stage: Stage,
    /// The number of parts whose headers have started.
    count: usize,
    /// The preamble or the epilogue.
    dropped: Vec<u8>,
}

enum Stage {
    /// Before the first delimiter.
    Preamble,
    /// In the headers of a part.
    Headers { end: HeadersEnd, block: BytesMut },
    /// In the content of a part.
    Content,
    /// After the closing delimiter.
    Epilogue,
    /// At the end of the body.
    Ended,
}

impl Parts {
    /// Splits `ahead`, which was already read from the body, and the body into parts separated by `boundary`.
    pub(super) fn new(ahead: Bytes, body: Body, boundary: &str) -> Self {
        let mut unread = Unread::default();
        unread.begin_line();
        unread.push(ahead);
        Self {
            body,
            delimiter: Delimiter::new(boundary),
            unread,
            ended: false,
            stage: Stage::Preamble,
            count: 0,
            dropped: Vec::new(),
        }
    }

    /// Returns the headers of the next part, or `None` at the end of the body. The content of the previous part must
    /// have been read.
    pub(super) async fn next(&mut self) -> Result<Option<PartHeaders>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Returns the whole content of the current part if it has at most `limit` bytes.
    pub(super) async fn collect_up_to(&mut self, limit: usize) -> Result<Option<Bytes>> {
        let mut part = Blocks::default();
        while let Some(data) = poll_fn(|cx| self.poll_content(cx)).await? {
            if data.len() > limit - part.len() {
                return Ok(None);
            }
            part.push(&data);
        }
        Ok(Some(part.into_bytes()))
    }

    /// Returns the content of the current part, which must be the last one, as a body.
    pub(super) fn into_media(self) -> Body {
        Body::new(Media(self))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<PartHeaders>>> {
        loop {
            match &mut self.stage {
                Stage::Headers { end, block } => {
                    let available = MAX_BETWEEN_PARTS - block.len();
                    if available == 0 {
                        return Poll::Ready(Err(too_long("the headers of a part")));
                    }
                    block.extend_from_slice(&self.unread.headers(end, available));
                    if end.is_found() {
                        let headers = PartHeaders::parse(self.count, block, self.delimiter.dashes_and_boundary())?;
                        self.unread.begin_line();
                        self.stage = Stage::Content;
                        return Poll::Ready(Ok(Some(headers)));
                    }
                    if self.unread.is_empty() {
                        if self.ended {
                            return Poll::Ready(Err(unclosed()));
                        }
                        ready!(self.poll_more(cx))?;
                    }
                }
                Stage::Ended => return Poll::Ready(Ok(None)),
                Stage::Preamble | Stage::Content | Stage::Epilogue => {
                    let in_preamble = matches!(self.stage, Stage::Preamble);
                    // The content of the part was read; these bytes belong to no part.
                    if let Some(dropped) = ready!(self.poll_content(cx))? {
                        if dropped.len() > MAX_BETWEEN_PARTS - self.dropped.len() {
                            return Poll::Ready(Err(too_long("a preamble or an epilogue")));
                        }
                        self.dropped.extend_from_slice(&dropped);
                    } else if in_preamble && memmem::find(&self.dropped, self.delimiter.dashes_and_boundary()).is_some()
                    {
                        // The delimiter starts a part, which must not be dropped.
                        return Poll::Ready(Err(hidden_delimiter()));
                    }
                }
            }
        }
    }

    /// Returns the next bytes before a delimiter, or `None` at the delimiter, which is consumed, and at the end of the
    /// body.
    fn poll_content(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if matches!(self.stage, Stage::Headers { .. } | Stage::Ended) {
            return Poll::Ready(Ok(None));
        }
        loop {
            let closed = matches!(self.stage, Stage::Epilogue);
            match self.unread.next(&self.delimiter, self.ended) {
                Token::Content(content) => return Poll::Ready(Ok(Some(content))),
                Token::Delimiter | Token::Close if closed => return Poll::Ready(Err(delimiter_after_close())),
                Token::Delimiter => {
                    self.count += 1;
                    self.stage = Stage::Headers {
                        end: HeadersEnd::default(),
                        block: BytesMut::new(),
                    };
                    return Poll::Ready(Ok(None));
                }
                Token::Close => {
                    self.stage = Stage::Epilogue;
                    self.dropped.clear();
                    return Poll::Ready(Ok(None));
                }
                Token::Unclear if !self.ended => ready!(self.poll_more(cx))?,
                Token::Unclear if closed => {
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(None));
                }
                Token::Unclear => return Poll::Ready(Err(unclosed())),
            }
        }
    }

    /// Reads the next chunk of the body, or its end.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match ready!(poll_data(Pin::new(&mut self.body), cx)).transpose()? {
            Some(data) => self.unread.push(data),
            None => self.ended = true,
        }
        Poll::Ready(Ok(()))
    }
}

/// The media part as a body that ends cleanly only after the closing delimiter and the end of the request body.
struct Media(Parts);

impl Media {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if let Stage::Content = self.0.stage
            && let Some(data) = ready!(self.0.poll_content(cx))?
        {
            return Poll::Ready(Ok(Some(data)));
        }
        if let Stage::Headers { .. } = self.0.stage {
            let message = "the multipart body has another part after the media: send the JSON, as application/json, and \
                           one file";
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidMultipart, message)));
        }
        // Only the epilogue remains.
        self.0.poll_next(cx).map_ok(|_| None)
    }
}

impl HttpBody for Media {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        self.poll_data(cx)
            .map(|data| data.transpose().map(|data| data.map(Frame::data)))
    }
}

fn unclosed() -> Error {
    Error::new(
        ErrorKind::InvalidMultipart,
        "the multipart body has no closing delimiter, or a malformed one: send the whole body, with `--BOUNDARY--` at its end",
    )
}

fn delimiter_after_close() -> Error {
    Error::new(
        ErrorKind::InvalidMultipart,
        "the multipart body has another delimiter after its closing delimiter: send the closing delimiter once, at the end",
    )
}

fn hidden_delimiter() -> Error {
    Error::new(
        ErrorKind::InvalidMultipart,
        "the multipart body contains its boundary before the first delimiter: a delimiter must start the body or follow \
         CR LF",
    )
}

fn too_long(what: &str) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!(
            "{what} of the multipart body is longer than {MAX_BETWEEN_PARTS} bytes, the limit: send the JSON and one file, with few headers"
        ),
    )
}
