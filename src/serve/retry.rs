//! For how long a failing key is asked to be tried again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Error, key::BlobKey};

/// How long a key is answered with `Retry-After` while it keeps failing.
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// How many failing keys are remembered. A key beyond that is asked to be tried again as if it had not failed before.
const MAX_KEYS: usize = 4096;

/// Remembers since when keys have been failing.
#[derive(Default)]
pub(super) struct RetryWindow {
    failing: Mutex<HashMap<BlobKey, Instant>>,
}

impl RetryWindow {
    /// Takes the request to try again out of `error` if `key` has been failing for too long.
    pub(super) fn bound(&self, key: &BlobKey, error: Error) -> Error {
        self.bound_at(key, error, Instant::now())
    }

    fn bound_at(&self, key: &BlobKey, error: Error, now: Instant) -> Error {
        if error.retry_after().is_none() {
            return error;
        }
        let mut failing = self.lock();
        if let Some(since) = failing.get(key) {
            let in_window = now.duration_since(*since) < WINDOW;
            return if in_window { error } else { error.with_retry_after(None) };
        }
        if failing.len() >= MAX_KEYS {
            failing.retain(|_, since| now.duration_since(*since) < WINDOW);
        }
        if failing.len() < MAX_KEYS {
            failing.insert(key.clone(), now);
        }
        error
    }

    /// Forgets `key`, which works again.
    pub(super) fn succeeded(&self, key: &BlobKey) {
        let mut failing = self.lock();
        if !failing.is_empty() {
            failing.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BlobKey, Instant>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

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
