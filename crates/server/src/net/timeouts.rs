//! [`TimeoutIo`]: a connection that waits for its client, and for how long.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Body as HttpBody, Frame, SizeHint};
use kazoo_storage::{Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::linger::LINGER;
use crate::config::Timeouts;

/// What the connection's IO and its requests know of each other: whether a request is being answered.
#[derive(Clone, Default)]
pub(crate) struct Busy(Arc<AtomicBool>);

/// A request's part of [`Busy`], until its answer has gone out.
pub(crate) struct Answering(Busy);

impl Busy {
    /// A request has its head, and is about to be answered.
    pub(crate) fn begin(&self) -> Answering {
        self.0.store(true, Ordering::Relaxed);
        Answering(self.clone())
    }

    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

/// The body of an answer, whose end is the end of the request.
pub(crate) struct Answer<B> {
    body: B,
    _answering: Answering,
}

impl<B> Answer<B> {
    pub(crate) fn new(body: B, answering: Answering) -> Self {
        Self {
            body,
            _answering: answering,
        }
    }
}

impl<B: HttpBody + Unpin> HttpBody for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An IO that ends when its client keeps it waiting.
///
/// A head that is late is answered with 408. hyper's own timeout for heads starts as soon as the last answer is out,
/// and would close idle connections; here the two are told apart by the first byte.
pub(crate) struct TimeoutIo<T> {
    io: T,
    timeouts: Timeouts,
    busy: Busy,
    reading: Reading,
    timer: Pin<Box<Sleep>>,
    writing: Option<Pin<Box<Sleep>>>,
}

/// What the client is waited for to send.
enum Reading {
    /// Nothing: a request is being answered.
    Nothing,
    /// The first byte of a head, and whether it is the connection's first.
    Begin { first: bool },
    /// The rest of a head.
    Head,
    /// Nothing any more, once this has been written.
    Refused { answer: Vec<u8>, written: usize },
    /// Nothing any more.
    Ended,
}

impl<T> TimeoutIo<T> {
    /// `since` is when the client could have begun to send.
    pub(crate) fn new(io: T, timeouts: Timeouts, busy: Busy, since: Instant) -> Self {
        Self {
            io,
            timeouts,
            busy,
            reading: Reading::Begin { first: true },
            timer: Box::pin(sleep_until(since + timeouts.head)),
            writing: None,
        }
    }

    /// What is waited for now.
    fn reading(&mut self) -> &mut Reading {
        match self.reading {
            Reading::Begin { .. } | Reading::Head if self.busy.is() => self.reading = Reading::Nothing,
            Reading::Nothing if !self.busy.is() => {
                self.reading = Reading::Begin { first: false };
                self.timer.as_mut().reset(Instant::now() + self.timeouts.idle);
            }
            _ => {}
        }
        &mut self.reading
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> TimeoutIo<T> {
    /// Tells a client whose head is late why the connection ends, and ends it.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Reading::Refused { answer, written } = &mut self.reading {
            while let Some(rest) = answer.get(*written..).filter(|rest| !rest.is_empty()) {
                // What a client takes not even now is not waited for.
                match Pin::new(&mut self.io).poll_write(cx, rest) {
                    Poll::Ready(Ok(sent)) if sent > 0 => *written += sent,
                    _ => break,
                }
            }
            ready!(Pin::new(&mut *self).poll_shutdown(cx))?;
            self.reading = Reading::Ended;
        }
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the head of a request was late",
        )))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for TimeoutIo<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.reading, Reading::Refused { .. }) {
            return this.poll_refuse(cx);
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        match (this.reading(), &read) {
            (Reading::Begin { first }, Poll::Ready(Ok(()))) if buf.filled().len() > before => {
                if !*first {
                    this.timer.as_mut().reset(Instant::now() + this.timeouts.head);
                }
                this.reading = Reading::Head;
                return read;
            }
            // A head that drips is ready at every turn, and late all the same.
            (Reading::Begin { .. }, Poll::Pending) | (Reading::Head, _) => {}
            _ => return read,
        }
        if this.timer.as_mut().poll(cx).is_pending() {
            return read;
        }
        if matches!(this.reading, Reading::Begin { .. }) {
            // Nothing was begun: to hyper it is as if the client had closed.
            this.reading = Reading::Ended;
            return Poll::Ready(Ok(()));
        }
        // An answer that the client has not taken yet is not written into.
        let answer = if this.writing.is_some() {
            Vec::new()
        } else {
            late(this.timeouts.head)
        };
        this.reading = Reading::Refused { answer, written: 0 };
        this.poll_refuse(cx)
    }
}

impl<T: AsyncWrite + Unpin> TimeoutIo<T> {
    /// `written`, unless the client has not taken anything for too long.
    fn bound<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let deadline = || Box::pin(sleep_until(Instant::now() + self.timeouts.stall));
        ready!(self.writing.get_or_insert_with(deadline).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read its answer",
        )))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for TimeoutIo<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.bound(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.bound(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(&mut this.io).poll_flush(cx) {
            // A write that waits goes on waiting, whatever a flush of nothing says.
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => this.bound(cx, Poll::Pending),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        if shut.is_pending() {
            // The io lingers by itself; this is for one that cannot even say goodbye.
            let deadline = || Box::pin(sleep_until(Instant::now() + LINGER + this.timeouts.stall));
            ready!(this.writing.get_or_insert_with(deadline).as_mut().poll(cx));
            return Poll::Ready(Ok(()));
        }
        shut
    }
}

/// The answer to a head that is late, as it goes over the wire.
fn late(timeout: Duration) -> Vec<u8> {
    let timeout = timeout.as_secs_f64();
    let message = format!("the head of the request was not complete within {timeout} s; send it in one piece");
    let error = Error::new(ErrorKind::Timeout, message);
    let body = error.to_json();
    let len = body.len();
    format!(
        "HTTP/1.1 {}\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\
         content-length: {len}\r\n\r\n{body}",
        error.status()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        time::sleep,
    };

    use super::*;
    use crate::net::linger::Lingering;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(150),
        stall: Duration::from_secs(30),
    };

    fn timeout_io(size: usize) -> (DuplexStream, TimeoutIo<Lingering<DuplexStream>>, Busy) {
        let (client, server) = duplex(size);
        let busy = Busy::default();
        let server = TimeoutIo::new(Lingering::new(server), TIMEOUTS, busy.clone(), Instant::now());
        (client, server, busy)
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_answered_with_408() {
        let (mut client, mut server, _busy) = timeout_io(4096);
        let start = Instant::now();
        let serving = tokio::spawn(async move {
            let mut head = [0; 100];
            loop {
                let read = server.read(&mut head).await;
                if !matches!(read, Ok(1)) {
                    return (read.unwrap_err().kind(), start.elapsed());
                }
            }
        });
        for _ in 0..10 {
            client.write_all(b"x").await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        drop(client);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{answer}");
        assert!(head.contains("\r\nconnection: close\r\n"), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["error"], &body["status"]), (&"timeout".into(), &408.into()));
        let (kind, after) = serving.await.unwrap();
        assert_eq!(kind, io::ErrorKind::TimedOut);
        assert_eq!(after.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_that_says_nothing_ends_without_a_word() {
        let (mut client, mut server, _busy) = timeout_io(4096);
        let start = Instant::now();
        assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 10);
        drop(server);
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_it_waits_longer_than_for_a_head() {
        let (mut client, mut server, busy) = timeout_io(4096);
        let mut buf = [0; 10];
        for wait in [1, 126, 149] {
            client.write_all(b"head").await.unwrap();
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            let answering = busy.begin();
            // The answer may take longer than any head, and is not bound by the time of one.
            let read = tokio::time::timeout(Duration::from_secs(1000), server.read(&mut buf)).await;
            assert!(read.is_err());
            drop(answering);
            let read = tokio::time::timeout(Duration::from_secs(wait), server.read(&mut buf)).await;
            assert!(read.is_err(), "{wait}");
        }
        let start = Instant::now();
        assert_eq!(server.read(&mut buf).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_its_answer_is_not_waited_for() {
        let (mut client, mut server, busy) = timeout_io(64);
        let _answering = busy.begin();
        let start = Instant::now();
        let writing = tokio::spawn(async move {
            let error = server.write_all(&[0; 1000]).await.unwrap_err();
            (error.kind(), start.elapsed().as_secs())
        });
        // As long as it takes something, however slowly, it is.
        for _ in 0..5 {
            sleep(Duration::from_secs(29)).await;
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
        assert_eq!(writing.await.unwrap(), (io::ErrorKind::TimedOut, 5 * 29 + 30));
    }
}
