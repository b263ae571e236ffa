//! [`Health`] of a receiver, and the times between attempts.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// Minimum time between two attempts.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum time between two attempts for one event.
const LONGEST: Duration = Duration::from_secs(60 * 60);

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

/// Returns the time until the next attempt for an event that has had `attempts`.
pub(super) fn delay(attempts: i64, retry_after: Option<Duration>) -> Duration {
    back_off(attempts, LONGEST).max(retry_after.unwrap_or_default().min(LONGEST))
}

/// Returns 1 second after the first attempt, then 2, 4, … up to `longest`, less up to half of it at random.
fn back_off(attempts: i64, longest: Duration) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1).clamp(0, 20)).unwrap_or_default();
    let whole = SHORTEST.saturating_mul(1 << doublings).min(longest);
    // Its keys are random.
    let random = RandomState::new().build_hasher().finish() % 1000;
    let spread = (whole / 2).saturating_mul(u32::try_from(random).unwrap_or_default()) / 1000;
    whole.saturating_sub(spread).max(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_an_hour() {
        for (attempts, whole) in [(1, 1), (2, 2), (3, 4), (12, 2048), (13, 3600), (i64::MAX, 3600)] {
            for _ in 0..50 {
                let delay = delay(attempts, None);
                assert!(delay <= Duration::from_secs(whole), "{attempts}: {delay:?}");
                assert!(delay >= Duration::from_millis(whole * 500), "{attempts}: {delay:?}");
            }
        }
        let asked = |seconds| delay(1, Some(Duration::from_secs(seconds)));
        assert_eq!(asked(90), Duration::from_secs(90));
        assert_eq!(asked(86_400), LONGEST);
    }

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
