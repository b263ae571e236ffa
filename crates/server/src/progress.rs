//! [`Progress`]: the progress of a command on stderr.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// Interval between updates on a terminal.
const REFRESH: Duration = Duration::from_millis(200);

/// Interval between lines in a file.
const REFRESH_LOG: Duration = Duration::from_secs(60);

/// One line on stderr: updated in place on a terminal, and repeated elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    next: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        Self {
            terminal,
            next: Instant::now() + if terminal { REFRESH } else { REFRESH_LOG },
        }
    }

    /// Shows the line that `line` returns, if an update is due.
    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let line = line();
        // Progress is optional: a closed stderr is no error.
        let _ = if self.terminal {
            self.next = now + REFRESH;
            write!(io::stderr(), "\r\x1b[K{line}")
        } else {
            self.next = now + REFRESH_LOG;
            writeln!(io::stderr(), "{line}")
        };
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
