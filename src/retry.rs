//! [`RetryWindow`]: for how long a failing key is asked to be tried again.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Error, key::BlobKey};

/// How many failing keys are remembered. A key beyond that is asked to be tried again as if it had not failed before.
const MAX_KEYS: usize = 4096;

/// A key that was not asked for at least so long is not waited for any more: KAZOO comes again within 99 seconds.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Remembers since when keys have been failing, and asks for none to be tried again for ever.
///
/// KAZOO's client repeats a request that is answered with `Retry-After` without limit, and its caller waits with it.
///
/// ```
/// use std::time::Duration;
///
/// use kazoo_storage::{BlobKey, Error, ErrorKind, RetryWindow};
///
/// let window = RetryWindow::new(Duration::ZERO);
/// let key = BlobKey::from_segments(["ACC", "DOC", "message.mp3"])?;
/// let down = || Error::new(ErrorKind::Unavailable, "down");
/// assert!(window.bound(&key, down()).retry_after().is_some());
/// assert!(window.bound(&key, down()).retry_after().is_none());
/// window.succeeded(&key);
/// assert!(window.bound(&key, down()).retry_after().is_some());
/// # Ok::<(), Error>(())
/// ```
pub struct RetryWindow {
    length: Duration,
    failing: Mutex<HashMap<BlobKey, Failing>>,
}

/// The failures of one key.
struct Failing {
    first: Instant,
    last: Instant,
}

impl RetryWindow {
    /// How long a key is answered with `Retry-After` by default while it keeps failing: an hour.
    pub const DEFAULT: Duration = Duration::from_secs(60 * 60);

    /// Answers a key that keeps failing with `Retry-After` for `length`, from its first failure on.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            failing: Mutex::default(),
        }
    }

    /// Takes the request to try again out of `error` if `key` has been failing for too long.
    pub fn bound(&self, key: &BlobKey, error: Error) -> Error {
        self.bound_at(key, error, Instant::now())
    }

    fn bound_at(&self, key: &BlobKey, error: Error, now: Instant) -> Error {
        if error.retry_after().is_none() {
            return error;
        }
        let quiet = self.length.max(QUIET);
        let mut failing = self.lock();
        if let Some(failures) = failing.get_mut(key) {
            if now.duration_since(failures.last) > quiet {
                *failures = Failing { first: now, last: now };
                return error;
            }
            failures.last = now;
            let in_window = now.duration_since(failures.first) < self.length;
            return if in_window { error } else { error.with_retry_after(None) };
        }
        if failing.len() >= MAX_KEYS {
            failing.retain(|_, failures| now.duration_since(failures.first) < self.length);
        }
        if failing.len() < MAX_KEYS {
            failing.insert(key.clone(), Failing { first: now, last: now });
        }
        error
    }

    /// Forgets `key`, which works again.
    pub fn succeeded(&self, key: &BlobKey) {
        let mut failing = self.lock();
        if !failing.is_empty() {
            failing.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobKey, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RetryWindow {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

impl fmt::Debug for RetryWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryWindow")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const WINDOW: Duration = RetryWindow::DEFAULT;

    #[test]
    fn a_key_that_keeps_failing_is_let_go_after_an_hour() {
        let window = RetryWindow::default();
        let key = BlobKey::from_segments(["A"]).unwrap();
        let down = || Error::new(ErrorKind::Unavailable, "down");
        let start = Instant::now();
        let retries = |after| window.bound_at(&key, down(), start + after).retry_after().is_some();
        assert!(retries(Duration::ZERO));
        assert!(retries(Duration::from_secs(59 * 60)));
        assert!(!retries(WINDOW));
        assert!(!retries(WINDOW * 2));
        window.succeeded(&key);
        assert!(retries(WINDOW * 2), "it begins anew once it has worked");
    }

    #[test]
    fn a_failure_of_long_ago_is_another() {
        let window = RetryWindow::new(Duration::from_secs(1));
        let key = BlobKey::from_segments(["A"]).unwrap();
        let start = Instant::now();
        let retries = |after| {
            let error = Error::new(ErrorKind::Unavailable, "down");
            window.bound_at(&key, error, start + after).retry_after().is_some()
        };
        assert!(retries(Duration::ZERO));
        assert!(!retries(QUIET));
        assert!(!retries(QUIET * 2));
        assert!(retries(QUIET * 3 + Duration::from_secs(1)));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let window = RetryWindow::default();
        let start = Instant::now();
        for n in 0..MAX_KEYS + 10 {
            let key = BlobKey::from_segments([n.to_string()]).unwrap();
            let error = window.bound_at(&key, Error::new(ErrorKind::Unavailable, "down"), start);
            assert!(error.retry_after().is_some());
        }
        assert_eq!(window.lock().len(), MAX_KEYS);
        let late = BlobKey::from_segments(["late"]).unwrap();
        window.bound_at(&late, Error::new(ErrorKind::Unavailable, "down"), start + WINDOW);
        assert_eq!(window.lock().len(), 1, "those past their window make room");
    }
}
