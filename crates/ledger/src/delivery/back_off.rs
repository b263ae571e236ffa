//! The times between attempts.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// Minimum time between two attempts.
const SHORTEST: Duration = Duration::from_secs(1);

/// Maximum time between two attempts for one event.
pub(super) const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Returns the time until the next attempt for an event that has had `attempts`.
pub(super) fn delay(attempts: i64, retry_after: Option<Duration>) -> Duration {
    back_off(attempts, LONGEST).max(retry_after.unwrap_or_default().min(LONGEST))
}

/// Returns 1 second after the first attempt, then 2, 4, … up to `longest`, less up to half of it at random.
pub(super) fn back_off(attempts: i64, longest: Duration) -> Duration {
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
}
