//! [`Signals`]: the signals that end a command, which first removes its temporary files and reports what it has done.

use std::process::ExitCode;

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

/// SIGINT, SIGTERM and SIGHUP. They no longer end the process by themselves.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot handle signals: {error}"));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal. Returns the status of a process that it ends.
    pub(crate) async fn received(&mut self) -> ExitCode {
        let kind = select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.hangup.recv() => SignalKind::hangup(),
        };
        ExitCode::from(128_u8.saturating_add(u8::try_from(kind.as_raw_value()).unwrap_or(u8::MAX)))
    }
}
