//! [`Body`]: the body type of the requests that layers emit and of all responses.

mod content;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty, Full, combinators::UnsyncBoxBody};
use pin_project::pin_project;

use self::content::Content;
use crate::{
    digest::Digest,
    error::{BoxError, Error, Result},
};

/// A streaming body of any origin whose error is [`Error`].
///
/// A clean end means that the body is complete; an incomplete body ends with an error. The layers of this crate
/// guarantee this for HTTP/2 too, where hyper ends a body cleanly if the client resets the stream with `NO_ERROR`. Code
/// that wraps such a body itself must check [`is_end_stream`](HttpBody::is_end_stream) at its end.
#[derive(Debug)]
pub struct Body {
    inner: UnsyncBoxBody<Bytes, Error>,
    /// The error that the body ended with. Every later poll returns it, because many bodies end cleanly after an error.
    failed: Option<Error>,
    /// `true` after a clean end. The inner body is not polled again, because some streams panic.
    ended: bool,
    content: Option<Box<Content>>,
}

impl Body {
    /// Wraps `body` and converts its errors with [`Error::from_body`]. A `Body` is not wrapped again.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        // Consecutive layers pass a `Body` on; it is not boxed again.
        let mut slot = Some(body);
        if let Some(own) = (&mut slot as &mut dyn std::any::Any).downcast_mut::<Option<Self>>()
            && let Some(own) = own.take()
        {
            return own;
        }
        match slot {
            Some(body) => Self::boxed(body),
            None => Self::empty(),
        }
    }

    fn boxed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        Self {
            inner: body.map_err(Error::from_body).boxed_unsync(),
            failed: None,
            ended: false,
            content: None,
        }
    }

    /// Streams the items of `stream`, each a chunk of bytes. The end of the stream is the end of the body.
    ///
    /// Errors are converted with [`Error::from_body`]: an error that is no [`Error`] is
    /// [`IncompleteBody`](crate::ErrorKind::IncompleteBody), as it should be for an upload. A fetch that is interrupted
    /// by one is a failure of the store, whatever its kind. The stream is not polled after its end or an error.
    ///
    /// ```
    /// use std::io;
    ///
    /// use futures_util::stream;
    /// use http_body_util::BodyExt as _;
    /// use kazoo_storage::{Body, ErrorKind};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let body = Body::from_stream(stream::iter([Ok::<_, io::Error>("ID"), Ok("3")]));
    /// assert_eq!(body.collect().await?.to_bytes(), "ID3");
    ///
    /// let body = Body::from_stream(stream::iter([Ok("ID"), Err(io::Error::from(io::ErrorKind::ConnectionReset))]));
    /// assert_eq!(body.collect().await.unwrap_err().kind(), ErrorKind::IncompleteBody);
    /// # Ok::<(), kazoo_storage::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn from_stream<S, D, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<D, E>> + Send + 'static,
        D: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self::new(Chunks(stream))
    }

    /// Creates an empty body.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Empty::new())
    }

    /// Computes the digest of the content while it is read, for [`digest`](Self::digest).
    ///
    /// A body computes one digest, however often this is called: the parts of a service that need it share it. They must
    /// pass the `Body` on. [`new`](Self::new) over another type around it is a new body, whose content may differ.
    ///
    /// ```
    /// use http_body_util::BodyExt as _;
    /// use kazoo_storage::{Body, digest::Digest};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let mut body = Body::from("ID3").with_digest();
    /// while let Some(frame) = body.frame().await {
    ///     frame?;
    /// }
    /// assert_eq!(body.digest(), Some(Digest::of(b"ID3")));
    /// # Ok::<(), kazoo_storage::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn with_digest(mut self) -> Self {
        self.content.get_or_insert_default();
        self
    }

    /// Returns the digest of the whole content: after the clean end of a body [`with_digest`](Self::with_digest), and
    /// `None` otherwise.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.content.as_ref()?.digest()
    }

    /// Calls `act` with the length of the content in bytes and its digest when the body ends cleanly, and waits for the
    /// future before the reader sees the end. If the future fails, the body ends with its error. If the body fails, or is
    /// dropped before its end, `act` is not called.
    ///
    /// A store may commit as soon as it has seen the end of a body. This is the last moment before it.
    #[must_use]
    pub fn at_end<F, A>(mut self, act: F) -> Self
    where
        F: FnOnce(u64, Digest) -> A + Send + 'static,
        A: Future<Output = Result<()>> + Send + 'static,
    {
        // The earlier function is called first.
        if self.content.as_ref().is_some_and(|content| content.acts()) {
            self = Self::boxed(self);
        }
        self.content.get_or_insert_default().at_end(act);
        self
    }

    /// Calls `inspect` with each frame that is read, and with `None` at the end. The function is dropped with the body.
    pub(crate) fn inspect<F>(self, inspect: F) -> Self
    where
        F: FnMut(&Self, Option<&Result<Frame<Bytes>>>) + Send + Unpin + 'static,
    {
        Self::new(Inspected { body: self, inspect })
    }

    /// Reads at most `limit` bytes into a single allocation; returns `None` if there are more.
    pub(crate) async fn collect_up_to(&mut self, limit: usize) -> Result<Option<Bytes>> {
        let mut collected = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            if data.len() > limit - collected.len() {
                return Ok(None);
            }
            if collected.is_empty() {
                if self.is_end_stream() {
                    return Ok(Some(data));
                }
                collected.reserve(limit);
            }
            collected.extend_from_slice(&data);
        }
        Ok(Some(collected.freeze()))
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from(bytes).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        if let Some(error) = &self.failed {
            return Poll::Ready(Some(Err(error.clone())));
        }
        if !self.ended {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
            match &frame {
                Some(Err(error)) => self.failed = Some(error.clone()),
                Some(Ok(frame)) => {
                    if let (Some(content), Some(data)) = (&mut self.content, frame.data_ref()) {
                        content.update(data);
                    }
                }
                None => self.ended = true,
            }
            if frame.is_some() {
                return Poll::Ready(frame);
            }
        }
        if let Some(content) = &mut self.content
            && let Err(error) = ready!(content.poll_end(cx))
        {
            self.failed = Some(error.clone());
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        // Otherwise the reader might not poll for the end.
        let acts = self.content.as_ref().is_some_and(|content| !content.has_ended());
        self.failed.is_none() && !acts && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // The length of a failed body is unknown.
        if self.failed.is_some() {
            return SizeHint::default();
        }
        self.inner.size_hint()
    }
}

/// Body of [`Body::from_stream`].
#[pin_project]
struct Chunks<S>(#[pin] S);

impl<S, D, E> HttpBody for Chunks<S>
where
    S: Stream<Item = Result<D, E>>,
    D: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let item = self.project().0.poll_next(cx);
        item.map(|item| {
            item.map(|chunk| {
                let chunk = chunk.map_err(Error::from_body)?;
                Ok(Frame::data(chunk.into()))
            })
        })
    }
}

/// Body of [`Body::inspect`].
struct Inspected<F> {
    body: Body,
    inspect: F,
}

impl<F> HttpBody for Inspected<F>
where
    F: FnMut(&Body, Option<&Result<Frame<Bytes>>>) + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let Self { body, inspect } = self.get_mut();
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        inspect(body, frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Polls for the next chunk of data, and skips trailers.
pub(crate) fn poll_data<B>(mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>>
where
    B: HttpBody<Data = Bytes>,
{
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Poll::Ready(Some(Ok(data)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// `unfold` panics if it is polled after its end.
    #[tokio::test]
    async fn a_stream_is_not_polled_after_its_end() {
        let chunks = futures_util::stream::unfold(["ID", "3"].into_iter(), async |mut rest| {
            rest.next().map(|chunk| (Ok::<_, Error>(chunk), rest))
        });
        let mut body = Body::from_stream(chunks);
        for expected in [Some("ID"), Some("3"), None, None] {
            let data = body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
            assert_eq!(data.as_deref(), expected.map(str::as_bytes));
        }
    }

    #[tokio::test]
    async fn a_failed_body_does_not_look_empty() {
        let mut body = Body {
            failed: Some(Error::new(ErrorKind::IncompleteBody, "cut off")),
            ..Body::empty()
        };
        for _ in 0..2 {
            assert!(!body.is_end_stream());
            assert_eq!((body.size_hint().lower(), body.size_hint().upper()), (0, None));
            assert_eq!(
                body.frame().await.unwrap().unwrap_err().kind(),
                ErrorKind::IncompleteBody
            );
        }
    }
}
