//! [`Signals`]: the signals that end a command, which first removes its temporary files and reports what it has done.

use std::{fs, process::ExitCode};

use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
};

/// SIGINT, SIGTERM and SIGHUP. They no longer end the process by themselves.
pub(crate) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, String> {
        // `nohup`, and a shell that starts a job in the background, ignore signals for the program. It must not listen to them.
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored(&status);
        let listen = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            let signal = (!is_ignored).then(|| signal(kind)).transpose();
            signal.map_err(|error| format!("cannot handle signals: {error}"))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal. Returns the status of a process that it ends.
    pub(crate) async fn received(&mut self) -> ExitCode {
        let kind = select! {
            () = next(&mut self.interrupt) => SignalKind::interrupt(),
            () = next(&mut self.terminate) => SignalKind::terminate(),
            () = next(&mut self.hangup) => SignalKind::hangup(),
        };
        ExitCode::from(128_u8.saturating_add(u8::try_from(kind.as_raw_value()).unwrap_or(u8::MAX)))
    }
}

/// Waits for `signal`, forever if it is ignored.
async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Returns the signals that a process ignores, by the `status` that Linux has of it. Bit 0 is the signal 1.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_ignored_signals() {
        assert_eq!(
            ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\nSigCgt:\t0"),
            0x1003
        );
        assert_eq!(ignored(""), 0);
    }
}
