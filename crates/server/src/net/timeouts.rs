//! [`TimeoutIo`]: limits the time that a connection waits for its client.

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

/// Shared by the IO and the requests of a connection: `true` while a request is being answered.
#[derive(Clone, Default)]
pub(crate) struct Busy(Arc<AtomicBool>);

/// Keeps [`Busy`] true until the response has been sent.
pub(crate) struct Answering(Busy);

impl Busy {
    /// Marks the start of a request whose head is complete.
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

/// The body of a response, which ends its request.
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

/// An IO that fails when a timeout expires.
///
/// A late head is answered with 408. hyper's own timeout for heads starts when the last response is sent, and would close
/// idle connections; here the first byte of a head separates the two.
pub(crate) struct TimeoutIo<T> {
    io: T,
    timeouts: Timeouts,
    busy: Busy,
    reading: Reading,
    timer: Pin<Box<Sleep>>,
    writing: Option<Pin<Box<Sleep>>>,
}

/// The data that the client has to send next.
enum Reading {
    /// None: a request is being answered.
    Nothing,
    /// The first byte of a head; `first` if it is the first of the connection.
    Begin { first: bool },
    /// The rest of a head.
    Head,
    /// None: the connection ends when this answer has been written.
    Refused { answer: Vec<u8>, written: usize },
    /// None: the connection has ended.
    Ended,
}

impl<T> TimeoutIo<T> {
    /// The client may have been able to send `since` then.
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

    /// Returns the current state.
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
    /// Answers a late head, and closes the connection.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Reading::Refused { answer, written } = &mut self.reading {
            while let Some(rest) = answer.get(*written..).filter(|rest| !rest.is_empty()) {
                // A client that does not read now gets no more time.
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
            "the request head timed out",
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
            // A head that drips in is ready at every poll, and late all the same.
            (Reading::Begin { .. }, Poll::Pending) | (Reading::Head, _) => {}
            _ => return read,
        }
        if this.timer.as_mut().poll(cx).is_pending() {
            return read;
        }
        if matches!(this.reading, Reading::Begin { .. }) {
            // No request has started: hyper sees the end of the stream.
            this.reading = Reading::Ended;
            return Poll::Ready(Ok(()));
        }
        // An unfinished response must not be written into.
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
    /// Returns `written`, or an error if the client has not read anything for too long.
    fn bound<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.writing = None;
            return written;
        }
        let deadline = || Box::pin(sleep_until(Instant::now() + self.timeouts.stall));
        ready!(self.writing.get_or_insert_with(deadline).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not read its response",
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
            // A flush of nothing does not end a pending write.
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => this.bound(cx, Poll::Pending),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let shut = Pin::new(&mut this.io).poll_shutdown(cx);
        if shut.is_pending() {
            // The inner IO limits its own lingering; this limits a shutdown that makes no progress at all.
            let deadline = || Box::pin(sleep_until(Instant::now() + LINGER + this.timeouts.stall));
            ready!(this.writing.get_or_insert_with(deadline).as_mut().poll(cx));
            return Poll::Ready(Ok(()));
        }
        shut
    }
}

/// Returns the bytes of the response to a late head.
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
    async fn answers_a_slow_head_with_408() {
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
    async fn closes_a_silent_new_connection_without_a_response() {
        let (mut client, mut server, _busy) = timeout_io(4096);
        let start = Instant::now();
        assert_eq!(server.read(&mut [0; 10]).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 10);
        drop(server);
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_longer_between_requests_than_for_a_head() {
        let (mut client, mut server, busy) = timeout_io(4096);
        let mut buf = [0; 10];
        for wait in [1, 126, 149] {
            client.write_all(b"head").await.unwrap();
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            let answering = busy.begin();
            // The response may take longer than any head.
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
    async fn limits_the_time_of_a_client_that_does_not_read() {
        let (mut client, mut server, busy) = timeout_io(64);
        let _answering = busy.begin();
        let start = Instant::now();
        let writing = tokio::spawn(async move {
            let error = server.write_all(&[0; 1000]).await.unwrap_err();
            (error.kind(), start.elapsed().as_secs())
        });
        // A client that reads slowly is waited for.
        for _ in 0..5 {
            sleep(Duration::from_secs(29)).await;
            client.read_exact(&mut [0; 64]).await.unwrap();
        }
        assert_eq!(writing.await.unwrap(), (io::ErrorKind::TimedOut, 5 * 29 + 30));
    }
}
