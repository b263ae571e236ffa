//! [`RetryWindow`]: limits how long a failing key is answered with `Retry-After`.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::{error::Error, key::BlobKey};

/// The number of groups that keys are hashed into, and the number of keys per group.
///
/// A key takes about 40 bytes, regardless of its length; a full table takes 1 MiB.
const GROUPS: usize = 2048;
const KEYS_PER_GROUP: usize = 8;

/// A key without requests for this long is no longer retried: KAZOO repeats a request within 99 seconds.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Tracks since when keys have been failing, and limits how long each is answered with `Retry-After`.
///
/// KAZOO's client repeats a request that is answered with `Retry-After` without limit, and its caller waits with it.
///
/// The table has a fixed size. Keys without a slot share one window: they are answered with `Retry-After` until it
/// ends, and then without, until the shared window has been unused for ten minutes. A flood of failing keys can
/// therefore make other keys give up early, but never makes them retry forever.
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
    /// Randomly keyed, so that no client can choose keys that share a group or a hash.
    hasher: RandomState,
    /// Empty until the first failure.
    groups: OnceLock<Box<[Mutex<Group>]>>,
}

/// The keys of one group, identified by hash.
#[derive(Default)]
struct Group {
    keys: Vec<(u64, Failing)>,
    /// The window shared by all keys without a slot.
    others: Option<Failing>,
}

/// A series of failures.
#[derive(Clone, Copy)]
struct Failing {
    first: Instant,
    last: Instant,
}

impl Failing {
    fn since(now: Instant) -> Self {
        Self { first: now, last: now }
    }

    /// Records a failure. Returns `true` if it is answered with `Retry-After`.
    ///
    /// A new series starts after `quiet` without a failure.
    fn again(&mut self, now: Instant, length: Duration, quiet: Duration) -> bool {
        if self.is_quiet(now, quiet) {
            *self = Self::since(now);
            return true;
        }
        self.last = now;
        now.duration_since(self.first) < length
    }

    fn is_quiet(&self, now: Instant, quiet: Duration) -> bool {
        now.duration_since(self.last) > quiet
    }
}

impl Group {
    /// Records a failure of the key with this `hash`. Returns `true` if it is answered with `Retry-After`.
    fn failed(&mut self, hash: u64, now: Instant, length: Duration) -> bool {
        if let Some((_, failing)) = self.keys.iter_mut().find(|(known, _)| *known == hash) {
            return failing.again(now, length, length.max(QUIET));
        }
        if self.keys.len() >= KEYS_PER_GROUP {
            self.keys.retain(|(_, failing)| !failing.is_quiet(now, QUIET));
        }
        if self.keys.len() < KEYS_PER_GROUP {
            self.keys.push((hash, Failing::since(now)));
            return true;
        }
        if let Some(failing) = &mut self.others {
            return failing.again(now, length, QUIET);
        }
        self.others = Some(Failing::since(now));
        true
    }
}

impl RetryWindow {
    /// How long a key is answered with `Retry-After` by default while it keeps failing: an hour.
    pub const DEFAULT: Duration = Duration::from_secs(60 * 60);

    /// Answers a key that keeps failing with `Retry-After` for `length`, from its first failure on.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            hasher: RandomState::new(),
            groups: OnceLock::new(),
        }
    }

    /// Removes `Retry-After` from `error` if `key` has been failing for too long.
    pub fn bound(&self, key: &BlobKey, error: Error) -> Error {
        self.bound_at(key, error, Instant::now())
    }

    fn bound_at(&self, key: &BlobKey, error: Error, now: Instant) -> Error {
        if error.retry_after().is_none() || self.failed_at(key, now) {
            return error;
        }
        error.with_retry_after(None)
    }

    /// Adds a failure of `key`, and returns `true` if the answer may have `Retry-After`.
    pub(crate) fn failed(&self, key: &BlobKey) -> bool {
        self.failed_at(key, Instant::now())
    }

    fn failed_at(&self, key: &BlobKey, now: Instant) -> bool {
        let groups = self
            .groups
            .get_or_init(|| (0..GROUPS).map(|_| Mutex::default()).collect());
        let hash = self.hasher.hash_one(key);
        group(groups, hash).is_none_or(|mut group| group.failed(hash, now, self.length))
    }

    /// Forgets the failures of `key`.
    pub fn succeeded(&self, key: &BlobKey) {
        let Some(groups) = self.groups.get() else { return };
        let hash = self.hasher.hash_one(key);
        if let Some(mut group) = group(groups, hash)
            && !group.keys.is_empty()
        {
            group.keys.retain(|(known, _)| *known != hash);
        }
    }
}

fn group(groups: &[Mutex<Group>], hash: u64) -> Option<MutexGuard<'_, Group>> {
    let group = groups.get(usize::try_from(hash % GROUPS as u64).ok()?)?;
    Some(group.lock().unwrap_or_else(PoisonError::into_inner))
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
    fn bounds_what_it_remembers_and_how_long_a_key_without_a_slot_retries() {
        let window = RetryWindow::default();
        let start = Instant::now();
        let retries = |name: String, after| {
            let key = BlobKey::from_segments([name]).unwrap();
            let error = Error::new(ErrorKind::Unavailable, "down");
            window.bound_at(&key, error, start + after).retry_after().is_some()
        };
        let flood = |after| {
            for n in 0..GROUPS * KEYS_PER_GROUP * 4 {
                retries(format!("flood {n}"), after);
            }
        };
        flood(Duration::ZERO);
        let remembered = || -> usize {
            window
                .groups
                .get()
                .unwrap()
                .iter()
                .map(|group| group.lock().unwrap().keys.len())
                .sum()
        };
        assert_eq!(remembered(), GROUPS * KEYS_PER_GROUP);

        let mut answers = Vec::new();
        let minute = Duration::from_secs(60);
        for n in 1..=180 {
            if n % 5 == 0 {
                flood(minute * n);
            }
            answers.push(retries("another".to_owned(), minute * n));
        }
        let asked = answers.iter().filter(|retried| **retried).count();
        assert_eq!(asked, 59, "until the shared window ends, and never after that");
        assert!(answers[..asked].iter().all(|retried| *retried));

        // The slots are free again after the flood.
        let later = minute * 180 + QUIET + minute;
        assert!(retries("late".to_owned(), later));
        assert!(retries("late".to_owned(), later + Duration::from_secs(59 * 60)));
        assert!(!retries("late".to_owned(), later + WINDOW));
    }

    #[test]
    fn a_flood_does_not_displace_a_key_that_keeps_failing() {
        let window = RetryWindow::default();
        let start = Instant::now();
        let retries = |name: &str, after| {
            let key = BlobKey::from_segments([name]).unwrap();
            let error = Error::new(ErrorKind::Unavailable, "down");
            window.bound_at(&key, error, start + after).retry_after().is_some()
        };
        for minute in 0..90 {
            let after = Duration::from_secs(60 * minute);
            assert_eq!(retries("old", after), minute < 60, "{minute}");
            if minute % 10 == 0 {
                for n in 0..GROUPS * KEYS_PER_GROUP * 2 {
                    retries(&format!("{minute} {n}"), after);
                }
            }
        }
    }
}
