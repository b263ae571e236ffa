//! The parts of a multipart body, in order.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream as _;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use multer::{Field, Multipart};

use super::feed::Feed;
use crate::{
    body::Body,
    error::{Error, ErrorKind, Result},
};

/// A multipart body between two parts.
pub(super) struct Parts {
    multipart: Multipart<'static>,
    feed: Feed,
}

/// One part: its headers, and its content as it arrives.
pub(super) struct Part {
    field: Field<'static>,
    feed: Feed,
    /// Whether all of its content has been read, and what is left is the delimiter behind it.
    read: bool,
}

impl Parts {
    pub(super) fn new(ahead: Bytes, body: Body, boundary: String) -> Self {
        let feed = Feed::new(ahead, body, &boundary);
        Self {
            multipart: Multipart::new(feed.clone(), boundary),
            feed,
        }
    }

    /// The next part; none behind the closing delimiter.
    pub(super) async fn next(&mut self) -> Result<Option<Part>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>>> {
        let Self { multipart, feed } = self;
        Poll::Ready(match ready!(feed.drive(cx, |cx| multipart.poll_next_field(cx))) {
            Some(Ok(Some(field))) => Ok(Some(Part {
                field,
                feed: feed.clone(),
                read: false,
            })),
            Some(Ok(None)) => Ok(None),
            Some(Err(error)) => Err(malformed(error)),
            None => Err(cut_off()),
        })
    }

    /// The body of `media`, which was the last part taken, and must be the last there is.
    pub(super) fn into_media(self, media: Part) -> Body {
        Body::new(Media {
            parts: self,
            stage: Stage::Media(media),
        })
    }
}

impl Part {
    pub(super) fn headers(&self) -> &HeaderMap {
        self.field.headers()
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        let Self { field, feed, read } = self;
        if !*read {
            if let Some(content) = ready!(feed.poll_content(cx)) {
                return Poll::Ready(Some(content));
            }
            *read = true;
        }
        Poll::Ready(match ready!(feed.drive(cx, |cx| Pin::new(&mut *field).poll_next(cx))) {
            // Nothing: the parser has seen none of the content, and found the delimiter.
            Some(Some(Ok(data))) => Some(Ok(data)),
            Some(Some(Err(error))) => Some(Err(malformed(error))),
            Some(None) => None,
            None => Some(Err(cut_off())),
        })
    }

    /// The whole part, if it has at most `limit` bytes.
    pub(super) async fn collect_up_to(mut self, limit: usize) -> Result<Option<Bytes>> {
        let mut collected = BytesMut::new();
        while let Some(data) = poll_fn(|cx| self.poll_data(cx)).await {
            let data = data?;
            if data.len() > limit - collected.len() {
                return Ok(None);
            }
            collected.extend_from_slice(&data);
        }
        Ok(Some(collected.freeze()))
    }
}

/// The media part as a body, which ends cleanly only behind the closing delimiter and the end of what it came in.
struct Media {
    parts: Parts,
    stage: Stage,
}

// One of these is in use per upload, and it is boxed with the body: nothing is gained by boxing the largest variant
// again.
#[allow(clippy::large_enum_variant)]
enum Stage {
    Media(Part),
    Closing,
    Finishing,
    Ended,
}

impl Media {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            match &mut self.stage {
                Stage::Media(part) => match ready!(part.poll_data(cx)).transpose()? {
                    Some(data) => return Poll::Ready(Ok(Some(data))),
                    None => self.stage = Stage::Closing,
                },
                Stage::Closing => {
                    if ready!(self.parts.poll_next(cx))?.is_some() {
                        return Poll::Ready(Err(Error::new(
                            ErrorKind::InvalidMultipart,
                            "the multipart body has another part behind the media; KAZOO sends the JSON and one file",
                        )));
                    }
                    self.stage = Stage::Finishing;
                }
                Stage::Finishing => {
                    ready!(self.parts.feed.poll_finish(cx))?;
                    self.stage = Stage::Ended;
                }
                Stage::Ended => return Poll::Ready(Ok(None)),
            }
        }
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

fn malformed(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(error) => Error::from_body(error),
        multer::Error::IncompleteStream | multer::Error::IncompleteFieldData { .. } => cut_off().with_source(error),
        error => Error::new(
            ErrorKind::InvalidMultipart,
            "the headers of a part of the multipart body are malformed",
        )
        .with_source(error),
    }
}

fn cut_off() -> Error {
    Error::new(
        ErrorKind::InvalidMultipart,
        "the multipart body has no closing delimiter, or a malformed one; nothing was stored",
    )
}
