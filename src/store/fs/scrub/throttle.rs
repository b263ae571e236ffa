//! How fast a scrub reads.

use std::{
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

/// Counts what is read, and waits where that is too fast.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<NonZeroU64>,
    /// When what was read so far may have been read.
    due: Instant,
    /// How much was read of the last file.
    pub(super) of_file: u64,
}

impl Throttle {
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            due: Instant::now(),
            of_file: 0,
        }
    }

    pub(super) fn begin_file(&mut self) {
        self.of_file = 0;
    }

    pub(super) fn read(&mut self, bytes: u64) {
        self.of_file += bytes;
        thread::sleep(self.wait(bytes, Instant::now()));
    }

    /// How long to wait after so many more bytes. What was not read in time is not made up for.
    fn wait(&mut self, bytes: u64, now: Instant) -> Duration {
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.get());
        self.due = self.due.max(now) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.due.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_kept_at_all_times() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(1000));
        throttle.due = start;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.wait(2500, after(0)), Duration::from_millis(2500));
        assert_eq!(throttle.wait(500, after(2)), Duration::from_secs(1));
        // An hour that it was kept from reading gives it no more to read at once.
        assert_eq!(throttle.wait(500, after(3600)), Duration::from_millis(500));
        throttle.rate = None;
        assert_eq!(throttle.wait(u64::MAX, after(0)), Duration::ZERO);
    }
}
