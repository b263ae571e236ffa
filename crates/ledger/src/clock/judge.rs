//! [`Judge`]: decides whether the clock can be trusted.

/// Maximum difference between the clock and the time that should have passed, in milliseconds.
const TOLERANCE: i64 = 3_600_000;

/// The same, as the lower end of a range.
const BEHIND: i64 = -TOLERANCE;

/// Maximum time between the last note and the next start, in milliseconds. After a longer one, the server was off for long, or the
/// clock is wrong.
const OFF: i64 = 7 * 86_400_000;

/// The time of both clocks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Since 1970. It jumps when somebody sets it.
    pub(crate) wall: i64,
    /// Since an arbitrary moment in the past. It never jumps.
    pub(crate) monotonic: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Ahead,
    Behind,
    Unconfirmed,
}

/// Compares the wall clock with the monotonic one, from a moment at which the former was right.
///
/// That moment stays the same as long as the process runs. Otherwise many small jumps would add up to a large one.
#[derive(Debug)]
pub(super) struct Judge {
    anchor: Reading,
    fault: Option<Fault>,
}

impl Judge {
    /// Judges the clock at the start. `noted` is the last time that was noted, or 0, and `was_suspended` tells that the clock was
    /// wrong then.
    pub(super) fn start(reading: Reading, noted: i64, was_suspended: bool) -> Self {
        let off = reading.wall - noted;
        let fault = match off {
            _ if noted == 0 => None,
            ..BEHIND => Some(Fault::Behind),
            // A jump that was detected before must not be forgotten because it is smaller than the time that a server may be off.
            TOLERANCE.. if was_suspended => Some(Fault::Unconfirmed),
            OFF.. => Some(Fault::Ahead),
            _ => None,
        };
        let wall = match fault {
            Some(_) => noted,
            None => reading.wall.max(noted),
        };
        Self {
            anchor: Reading { wall, ..reading },
            fault,
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Returns the time that the wall clock should have.
    pub(super) fn expected(&self, reading: Reading) -> i64 {
        self.anchor.wall + (reading.monotonic - self.anchor.monotonic)
    }

    /// Returns the earlier one of both times.
    pub(super) fn now(&self, reading: Reading) -> i64 {
        self.expected(reading).min(reading.wall)
    }

    /// Returns the time to note.
    pub(super) fn to_note(&self, reading: Reading) -> i64 {
        match self.fault {
            Some(_) => self.expected(reading),
            None => reading.wall,
        }
    }

    /// Judges the clock again. A fault ends when the clock has the expected time.
    pub(super) fn check(&mut self, reading: Reading) {
        let fault = match reading.wall - self.expected(reading) {
            ..BEHIND => Fault::Behind,
            BEHIND..=TOLERANCE => {
                self.fault = None;
                return;
            }
            _ => Fault::Ahead,
        };
        self.fault.get_or_insert(fault);
    }

    /// Trusts the wall clock from now on.
    pub(super) fn trust(&mut self, reading: Reading) {
        *self = Self {
            anchor: reading,
            fault: None,
        };
    }

    /// Judges the clock by the time `confirmed`, which an operator has confirmed on another server.
    pub(super) fn compare(&mut self, reading: Reading, confirmed: i64) {
        self.trust(Reading {
            wall: confirmed,
            ..reading
        });
        self.check(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = TOLERANCE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;

    /// A time in 2026.
    const NOTED: i64 = 1_790_000_000_000;

    fn reading(wall: i64, monotonic: i64) -> Reading {
        Reading { wall, monotonic }
    }

    #[test]
    fn compares_the_start_with_the_note() {
        for (noted, off, was_suspended, fault) in [
            (0, -YEAR, false, None),
            (NOTED, 0, false, None),
            (NOTED, -HOUR, false, None),
            (NOTED, -HOUR - 1, false, Some(Fault::Behind)),
            (NOTED, -YEAR, true, Some(Fault::Behind)),
            (NOTED, 6 * DAY, false, None),
            (NOTED, 8 * DAY, false, Some(Fault::Ahead)),
            (NOTED, YEAR, false, Some(Fault::Ahead)),
            (NOTED, 6 * DAY, true, Some(Fault::Unconfirmed)),
            (NOTED, HOUR - 1, true, None),
        ] {
            let judge = Judge::start(reading(NOTED + off, 0), noted, was_suspended);
            assert_eq!(judge.fault(), fault, "{noted} {off} {was_suspended}");
            let now = judge.now(reading(NOTED + off, 0));
            assert!(fault.is_none() || now <= NOTED, "{now}");
        }
    }

    #[test]
    fn a_jump_lasts_until_the_clock_is_right_again() {
        for jump in [YEAR, -YEAR, HOUR + 1, -HOUR - 1] {
            let mut judge = Judge::start(reading(NOTED, 0), NOTED, false);
            judge.check(reading(NOTED + DAY, DAY));
            assert_eq!(judge.fault(), None);
            let jumped = reading(NOTED + DAY + jump, DAY);
            judge.check(jumped);
            let fault = if jump > 0 { Fault::Ahead } else { Fault::Behind };
            assert_eq!(judge.fault(), Some(fault));
            assert_eq!(judge.to_note(jumped), NOTED + DAY);
            assert!(judge.now(jumped) <= NOTED + DAY);
            judge.check(reading(NOTED + 2 * DAY + 1, 2 * DAY));
            assert_eq!(judge.fault(), None);
        }
    }

    #[test]
    fn small_jumps_add_up() {
        let mut judge = Judge::start(reading(NOTED, 0), NOTED, false);
        judge.check(reading(NOTED + HOUR / 2, 0));
        assert_eq!((judge.fault(), judge.now(reading(NOTED + HOUR / 2, 0))), (None, NOTED));
        judge.check(reading(NOTED + HOUR + 60_000, 60_000 - 1));
        assert_eq!(judge.fault(), Some(Fault::Ahead));
        judge.trust(reading(NOTED + YEAR, 60_000));
        judge.check(reading(NOTED + YEAR + 5, 60_005));
        assert_eq!(judge.fault(), None);
    }

    #[test]
    fn a_confirmed_time_ends_the_fault_of_a_clock_that_agrees() {
        for (difference, fault) in [
            (0, None),
            (HOUR, None),
            (-HOUR, None),
            (HOUR + 1, Some(Fault::Ahead)),
            (-HOUR - 1, Some(Fault::Behind)),
        ] {
            let now = reading(NOTED + YEAR, 0);
            let mut judge = Judge::start(now, NOTED, false);
            assert_eq!(judge.fault(), Some(Fault::Ahead));
            judge.compare(now, now.wall - difference);
            assert_eq!(judge.fault(), fault, "{difference}");
            assert!(judge.now(now) <= now.wall - difference.max(0));
        }
    }
}
