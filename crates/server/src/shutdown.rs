//! How the server comes to its end: the [`Signals`] that ask for it, and the [`Phase`]s it goes through.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the server still does.
///
/// An idle connection is never closed before the last phase is over: the client may be sending a request on it just
/// then, and KAZOO does not repeat an upload that ran into a closed connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Everything.
    Serving,
    /// It accepts no connection, and every answer closes the one it goes out on.
    Draining,
    /// Moreover what is not done yet is answered with 503 and a short `Retry-After`. KAZOO's client obeys that and
    /// sends the same request again, so an upload that the end cuts off is not lost.
    Ending,
}

/// How much of the grace period the last phase gets, [`Phase::Ending`]: enough for small answers to arrive.
pub(crate) fn ending(grace: Duration) -> Duration {
    grace / 10
}

/// The signals that end the server.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From here on the signals no longer end the process by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal.
    pub(crate) async fn recv(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        }
    }
}
