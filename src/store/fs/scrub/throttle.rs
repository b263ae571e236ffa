//! [`Throttle`]: limits the rate at which a scrub reads.

use std::{
    num::NonZeroU64,
    thread,
    time::{Duration, Instant},
};

/// Counts the bytes that are read, and sleeps to keep the rate.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<NonZeroU64>,
    /// The earliest time for the next read.
    due: Instant,
    /// The number of bytes read from the current file.
    pub(super) file_bytes: u64,
}

impl Throttle {
    pub(super) fn new(rate: Option<NonZeroU64>) -> Self {
        Self {
            rate,
            due: Instant::now(),
            file_bytes: 0,
        }
    }

    pub(super) fn begin_file(&mut self) {
        self.file_bytes = 0;
    }

    /// Counts `bytes`, and sleeps as long as the rate requires.
    pub(super) fn read(&mut self, bytes: u64) {
        self.file_bytes += bytes;
        thread::sleep(self.wait(bytes, Instant::now()));
    }

    /// Returns the time to sleep after a read of `bytes`. Idle time does not allow a burst.
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
    fn keeps_the_rate_after_idle_time() {
        let start = Instant::now();
        let mut throttle = Throttle::new(NonZeroU64::new(1000));
        throttle.due = start;
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(throttle.wait(2500, after(0)), Duration::from_millis(2500));
        assert_eq!(throttle.wait(500, after(2)), Duration::from_secs(1));
        // An idle hour does not allow a burst.
        assert_eq!(throttle.wait(500, after(3600)), Duration::from_millis(500));
        throttle.rate = None;
        assert_eq!(throttle.wait(u64::MAX, after(0)), Duration::ZERO);
    }
}
