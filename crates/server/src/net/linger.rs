//! [`Lingering`]: closes a connection so that the client can read the last response.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// Maximum time to read from a closing connection. It bounds the discarded bytes too.
pub(crate) const LINGER: Duration = Duration::from_secs(30);

/// Maximum time without a byte from the peer of a closing connection.
pub(crate) const LINGER_QUIET: Duration = Duration::from_secs(5);

/// Number of bytes that are discarded at a time; the buffer is on the stack.
const DISCARD: usize = 16 * 1024;

/// An IO whose shutdown lets the peer read the response.
///
/// Closing a connection with unread bytes resets it, and a reset discards data that the peer has not read yet. KAZOO writes
/// its whole upload before it reads, so it would lose the status of a refusal. This shutdown closes the write side first,
/// then reads and discards until the peer closes too, has been quiet for [`LINGER_QUIET`], or [`LINGER`] is over.
pub(crate) struct Lingering<T> {
    io: T,
    state: State,
}

enum State {
    Open,
    Discarding { until: Instant, timer: Pin<Box<Sleep>> },
    Closed,
}

impl<T> Lingering<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, state: State::Open }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.state {
                State::Open => {
                    ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                    let now = Instant::now();
                    this.state = State::Discarding {
                        until: now + LINGER,
                        timer: Box::pin(sleep_until(now + LINGER_QUIET)),
                    };
                }
                State::Discarding { until, timer } => {
                    let mut space = [MaybeUninit::uninit(); DISCARD];
                    let mut discarded = ReadBuf::uninit(&mut space);
                    // The timer is polled first: a peer that never stops sending must not starve it.
                    let over = timer.as_mut().poll(cx).is_ready();
                    let closed = match Pin::new(&mut this.io).poll_read(cx, &mut discarded) {
                        _ if over => true,
                        // The peer has reset the connection, so it reads no more.
                        Poll::Ready(Err(_)) => true,
                        Poll::Ready(Ok(())) => discarded.filled().is_empty(),
                        Poll::Pending => return Poll::Pending,
                    };
                    if closed {
                        this.state = State::Closed;
                    } else {
                        timer.as_mut().reset((Instant::now() + LINGER_QUIET).min(*until));
                    }
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_when_the_peer_closes() {
        let (mut peer, io) = duplex(64);
        let mut io = Lingering::new(io);
        let start = Instant::now();
        let client = async {
            peer.write_all(&[0; 4096]).await.unwrap();
            let mut rest = Vec::new();
            peer.read_to_end(&mut rest).await.unwrap();
            drop(peer);
        };
        let ((), shutdown) = tokio::join!(client, io.shutdown());
        shutdown.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_quiet_peer() {
        let (_peer, io) = duplex(64);
        let start = Instant::now();
        Lingering::new(io).shutdown().await.unwrap();
        assert_eq!(start.elapsed().as_secs(), LINGER_QUIET.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_a_peer_that_never_stops() {
        let (mut peer, io) = duplex(64);
        let start = Instant::now();
        let client = async {
            let mut drip = tokio::time::interval(Duration::from_secs(1));
            while peer.write_all(b"x").await.is_ok() {
                drip.tick().await;
            }
        };
        let server = async {
            let mut io = Lingering::new(io);
            io.shutdown().await.unwrap();
        };
        tokio::join!(client, server);
        assert!((LINGER..LINGER + Duration::from_secs(2)).contains(&start.elapsed()));
    }
}
