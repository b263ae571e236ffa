//! [`Health`] of a receiver.

use std::time::Duration;

use tokio::time::Instant;

use super::back_off::{LONGEST, back_off};

/// Maximum pause of a failing receiver, unless its `Retry-After` is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Determines the number of events that a receiver may have in flight.
///
/// A receiver that fails gets one event at a time, with pauses.
#[derive(Debug)]
pub(super) struct Health {
    in_flight: usize,
    /// The number of failures since the last success.
    failures: usize,
    /// The number of pauses since the last success.
    pauses: i64,
    paused_until: Option<Instant>,
}

impl Health {
    pub(super) fn new(in_flight: usize) -> Self {
        Self {
            in_flight,
            failures: 0,
            pauses: 0,
            paused_until: None,
        }
    }

    /// Returns the maximum number of claimed events: twice as many as may be in flight, so that the next ones are ready, or one
    /// if the receiver is failing.
    pub(super) fn limit(&self) -> usize {
        if self.is_failing() {
            1
        } else {
            self.in_flight.saturating_mul(2)
        }
    }

    /// Returns the end of the pause, if there is one.
    pub(super) fn pause(&self) -> Option<Instant> {
        self.paused_until.filter(|until| *until > Instant::now())
    }

    /// Records a success. Returns `true` if the receiver was failing.
    pub(super) fn succeeded(&mut self) -> bool {
        let was_failing = self.is_failing();
        *self = Self::new(self.in_flight);
        was_failing
    }

    /// Records a failure. Returns `true` if the receiver begins to be failing with this one.
    pub(super) fn failed(&mut self, retry_after: Option<Duration>) -> bool {
        self.failures = self.failures.saturating_add(1);
        if self.is_failing() && self.pause().is_none() {
            self.pauses = self.pauses.saturating_add(1);
            self.pause_for(back_off(self.pauses, LONGEST_PAUSE));
        }
        if let Some(asked) = retry_after {
            self.pause_for(asked.min(LONGEST));
        }
        self.failures == self.in_flight
    }

    fn pause_for(&mut self, pause: Duration) {
        let until = Instant::now() + pause;
        self.paused_until = self.paused_until.max(Some(until));
    }

    fn is_failing(&self) -> bool {
        self.failures >= self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_receiver_gets_one_event_at_a_time() {
        let mut health = Health::new(4);
        assert_eq!(health.limit(), 8);
        for failure in 1..=4 {
            assert_eq!(health.failed(None), failure == 4);
        }
        assert_eq!(health.limit(), 1);
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let pause = health.pause().unwrap() - Instant::now();
            assert!(pause <= LONGEST_PAUSE);
            longest = longest.max(pause);
            tokio::time::advance(pause).await;
            assert_eq!(health.pause(), None);
            assert!(!health.failed(None));
        }
        assert!(longest >= LONGEST_PAUSE / 2);
        assert!(health.succeeded());
        assert_eq!((health.limit(), health.pause()), (8, None));
        // One event that always fails between others that do not is no reason to slow down.
        for _ in 0..10 {
            assert!(!health.failed(None));
            assert!(!health.succeeded());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_as_long_as_the_receiver_asks() {
        let mut health = Health::new(4);
        health.failed(Some(Duration::from_secs(90)));
        assert_eq!(health.pause(), Some(Instant::now() + Duration::from_secs(90)));
        health.failed(Some(Duration::from_secs(1_000_000)));
        assert_eq!(health.pause(), Some(Instant::now() + LONGEST));
    }
}
