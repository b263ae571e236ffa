//! The shutdown of the server: the [`Signals`] that start it, and its [`Phase`]s.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A phase of the server's life.
///
/// An idle connection stays open until the end of the last phase: the client may be sending a request on it, and KAZOO does
/// not repeat an upload on a connection that was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Normal operation.
    Serving,
    /// The server accepts no connections, and each response closes its connection.
    Draining,
    /// Requests in progress are answered with 503 and a short `Retry-After`. KAZOO's client sends them again, so no upload
    /// is lost.
    Ending,
}

/// Returns the length of [`Phase::Ending`]: long enough for small responses to arrive.
pub(crate) fn ending(grace: Duration) -> Duration {
    grace / 10
}

/// The signals that stop the server.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Handles the signals, which no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
