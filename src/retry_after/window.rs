use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use http::{Request, header, uri::PathAndQuery};

/// The number of groups, and the number of requests per group.
///
/// A request takes about 40 bytes, regardless of its length; a full table takes 1 MiB.
const GROUPS: usize = 2048;
const REQUESTS_PER_GROUP: usize = 8;

/// A request that has not failed for this long is no longer retried: KAZOO repeats a request within 99 seconds.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Tracks how long requests have been failing, and limits how long each is retried.
pub(super) struct Window {
    length: Duration,
    /// Randomly keyed, so that no client can choose requests that share a group or a hash.
    hasher: RandomState,
    /// Empty until the first failure.
    groups: OnceLock<Box<[Mutex<Group>]>>,
}

/// The failing requests of one group, identified by hash.
#[derive(Default)]
struct Group {
    requests: Vec<(u64, Failing)>,
    /// The window shared by all requests without a slot.
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
    fn record(&mut self, now: Instant, length: Duration, quiet: Duration) -> bool {
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
    /// Records a failure of the request with this `id`. Returns `true` if it is answered with `Retry-After`.
    fn failed(&mut self, id: u64, now: Instant, length: Duration) -> bool {
        if let Some((_, failing)) = self.requests.iter_mut().find(|(known, _)| *known == id) {
            return failing.record(now, length, length.max(QUIET));
        }
        if self.requests.len() >= REQUESTS_PER_GROUP {
            self.requests.retain(|(_, failing)| !failing.is_quiet(now, QUIET));
        }
        if self.requests.len() < REQUESTS_PER_GROUP {
            self.requests.push((id, Failing::since(now)));
            return true;
        }
        if let Some(failing) = &mut self.others {
            return failing.record(now, length, QUIET);
        }
        self.others = Some(Failing::since(now));
        true
    }
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        Self {
            length,
            hasher: RandomState::new(),
            groups: OnceLock::new(),
        }
    }

    /// Returns the identity of `request`: a hash of what KAZOO repeats exactly.
    ///
    /// The target alone does not suffice: with keys from the metadata, all uploads have the same one.
    pub(super) fn id<B>(&self, request: &Request<B>) -> u64 {
        let header = |name| request.headers().get(name);
        self.hasher.hash_one((
            request.method(),
            request.uri().path_and_query().map(PathAndQuery::as_str),
            header(header::CONTENT_TYPE),
            header(header::CONTENT_LENGTH),
        ))
    }

    /// Records a failure of the request with this `id`. Returns `true` if it is answered with `Retry-After`.
    pub(super) fn failed(&self, id: u64) -> bool {
        self.failed_at(id, Instant::now())
    }

    fn failed_at(&self, id: u64, now: Instant) -> bool {
        let groups = self
            .groups
            .get_or_init(|| (0..GROUPS).map(|_| Mutex::default()).collect());
        group(groups, id).is_none_or(|mut group| group.failed(id, now, self.length))
    }

    /// Forgets the failures of the request with this `id`.
    pub(super) fn succeeded(&self, id: u64) {
        if let Some(groups) = self.groups.get()
            && let Some(mut group) = group(groups, id)
            && !group.requests.is_empty()
        {
            group.requests.retain(|(known, _)| *known != id);
        }
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

fn group(groups: &[Mutex<Group>], id: u64) -> Option<MutexGuard<'_, Group>> {
    let group = groups.get(usize::try_from(id % GROUPS as u64).ok()?)?;
    Some(group.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    #[test]
    fn a_request_that_keeps_failing_stops_retrying_after_an_hour() {
        let window = Window::new(HOUR);
        let start = Instant::now();
        let retries = |after| window.failed_at(1, start + after);
        assert!(retries(Duration::ZERO));
        assert!(retries(Duration::from_secs(59 * 60)));
        assert!(!retries(HOUR));
        assert!(!retries(HOUR * 2));
        window.succeeded(1);
        assert!(retries(HOUR * 2), "a success starts a new series");
    }

    #[test]
    fn a_pause_starts_a_new_series() {
        let window = Window::new(Duration::from_secs(1));
        let start = Instant::now();
        let retries = |after| window.failed_at(1, start + after);
        assert!(retries(Duration::ZERO));
        assert!(!retries(QUIET));
        assert!(!retries(QUIET * 2));
        assert!(retries(QUIET * 3 + Duration::from_secs(1)));
    }

    #[test]
    fn bounds_the_table_and_the_retries_of_requests_without_a_slot() {
        let window = Window::new(HOUR);
        let start = Instant::now();
        let retries = |name: String, after| window.failed_at(window.hasher.hash_one(name), start + after);
        let flood = |after| {
            for n in 0..GROUPS * REQUESTS_PER_GROUP * 4 {
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
                .map(|group| group.lock().unwrap().requests.len())
                .sum()
        };
        assert_eq!(remembered(), GROUPS * REQUESTS_PER_GROUP);

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
        assert!(!retries("late".to_owned(), later + HOUR));
    }

    #[test]
    fn a_flood_does_not_displace_a_request_that_keeps_failing() {
        let window = Window::new(HOUR);
        let start = Instant::now();
        let retries = |name: &str, after| window.failed_at(window.hasher.hash_one(name), start + after);
        for minute in 0..90 {
            let after = Duration::from_secs(60 * minute);
            assert_eq!(retries("old", after), minute < 60, "{minute}");
            if minute % 10 == 0 {
                for n in 0..GROUPS * REQUESTS_PER_GROUP * 2 {
                    retries(&format!("{minute} {n}"), after);
                }
            }
        }
    }
}
