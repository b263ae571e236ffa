//! [`Signals`]: the signals that end a command, which first removes its temporary files and reports what it has done.

use std::{fs, future::pending, process::ExitCode};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

/// SIGINT, SIGTERM and SIGHUP. They no longer end the process by themselves.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it is ignored.
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| format!("cannot handle signals: {error}"));
        // `nohup` ignores SIGHUP for the program, which must not listen to it.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: (!is_ignored(hangup, &status)).then(|| listen(hangup)).transpose()?,
        })
    }

    /// Waits for a signal. Returns the status of a process that it ends.
    pub(crate) async fn received(&mut self) -> ExitCode {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => pending().await,
            }
        };
        let kind = select! {
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = hangup => SignalKind::hangup(),
        };
        ExitCode::from(128_u8.saturating_add(u8::try_from(kind.as_raw_value()).unwrap_or(u8::MAX)))
    }
}

/// Returns `true` if a process ignores the signal, by the `status` that Linux has of it.
fn is_ignored(signal: SignalKind, status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is the signal 1.
    mask.unwrap_or_default() >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ignored_signals() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002";
        assert!(is_ignored(SignalKind::hangup(), status));
        assert!(!is_ignored(SignalKind::interrupt(), status));
        assert!(!is_ignored(SignalKind::hangup(), ""));
    }
}
