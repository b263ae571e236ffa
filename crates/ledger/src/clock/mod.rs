//! The time that retention trusts.
//!
//! The ledger notes the time every minute. If the clock of the machine jumps, or disagrees with the note at the start, retention is
//! suspended until the clock is right again, or until the operator confirms it: a wrong clock must delete no file early.

mod judge;
mod note;
mod source;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::SystemTime,
};

use self::judge::{Fault, Judge, Reading};
pub(crate) use self::source::Source;
use crate::time;

/// The reason why retention is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockFault {
    /// The clock is ahead of the time that should have passed.
    Ahead,
    /// The clock is behind the time that should have passed.
    Behind,
    /// The clock was wrong before the program started, and may still be.
    Unconfirmed,
    /// Another server that uses this ledger has a wrong clock.
    OtherServer,
}

/// Retention is suspended, because a clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Suspension {
    /// The reason.
    pub fault: ClockFault,
    /// The time of the clock.
    pub clock: SystemTime,
    /// The time that the ledger expects.
    pub expected: SystemTime,
}

/// The clock of a ledger.
#[derive(Debug)]
pub(crate) struct Clock {
    source: Source,
    /// The last time that was noted, in milliseconds.
    noted: AtomicI64,
    state: Mutex<State>,
}

/// The state of the clocks of this process and of others, as far as it is known.
#[derive(Debug)]
struct State {
    judge: Judge,
    /// The number of confirmations by operators that this process has seen.
    confirmations: i64,
    /// A server has suspended retention, as of the last note.
    is_flagged: bool,
    /// This process has set the flag.
    owns_flag: bool,
}

/// The rows of the clock in the table `state`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noted {
    at: i64,
    is_suspended: bool,
    confirmations: i64,
}

impl ClockFault {
    /// Returns the name of the fault in the API and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ahead => "ahead",
            Self::Behind => "behind",
            Self::Unconfirmed => "unconfirmed",
            Self::OtherServer => "other_server",
        }
    }
}

impl fmt::Display for Suspension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.fault {
            ClockFault::Ahead => "the clock is ahead of the time that should have passed since the last note",
            ClockFault::Behind => "the clock is behind the last time that was noted",
            ClockFault::Unconfirmed => {
                "the clock was wrong before the server started, and nobody has confirmed it since"
            }
            ClockFault::OtherServer => "another server that uses this ledger has a wrong clock",
        })
    }
}

impl Clock {
    /// Creates the clock of a process that starts now.
    pub(crate) fn new(source: Source, noted: Noted) -> Self {
        let judge = Judge::start(source.read(), noted.at, noted.is_suspended);
        Self {
            source,
            noted: AtomicI64::new(noted.at),
            state: Mutex::new(State {
                judge,
                confirmations: noted.confirmations,
                is_flagged: noted.is_suspended,
                // If this clock is right, the flag ends with the next note, unless another server sets it again.
                owns_flag: noted.is_suspended,
            }),
        }
    }

    /// Returns the present time for deletions: the time of the clock, or the time that it should have, whichever is earlier.
    pub(crate) fn now(&self) -> SystemTime {
        let reading = self.source.read();
        time::from_millis(self.state().judge.now(reading))
    }

    /// Returns why retention is suspended, if it is.
    pub(crate) fn suspension(&self) -> Option<Suspension> {
        let reading = self.source.read();
        let mut state = self.state();
        state.judge.check(reading);
        state.suspension(reading)
    }

    /// Returns the time to record for an upload: never before the last note.
    pub(crate) fn stored_at(&self) -> SystemTime {
        let wall = self.source.read().wall;
        time::from_millis(wall.max(self.noted.load(Ordering::Relaxed)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn suspension(&self, reading: Reading) -> Option<Suspension> {
        let fault = match self.judge.fault() {
            Some(Fault::Ahead) => ClockFault::Ahead,
            Some(Fault::Behind) => ClockFault::Behind,
            Some(Fault::Unconfirmed) => ClockFault::Unconfirmed,
            None if self.is_flagged && !self.owns_flag => ClockFault::OtherServer,
            None => return None,
        };
        Some(Suspension {
            fault,
            clock: time::from_millis(reading.wall),
            expected: time::from_millis(self.judge.expected(reading)),
        })
    }
}
