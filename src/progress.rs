//! [`Progress`]: measures how fast the body of a request arrives.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
    time::Duration,
};

use tokio::time::Instant;

/// Request extension through which the layer that reads the body reports its progress to the layer that limits
/// concurrency.
///
/// Only time spent waiting for the body counts. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    /// The total time of all completed waits.
    waited: Duration,
    /// The start of the current wait.
    since: Option<Instant>,
    waker: Option<Waker>,
    ended: bool,
}

/// A wait for the body.
pub(crate) struct Wait {
    pub(crate) since: Instant,
    /// The bytes that arrived before this wait.
    pub(crate) bytes: u64,
    /// The total time of all waits before this one.
    pub(crate) waited: Duration,
    /// `true` once [`Progress::end`] was called.
    pub(crate) ended: bool,
}

impl Progress {
    /// Starts or continues a wait. [`end`](Self::end) wakes the task.
    pub(crate) fn wait(&self, cx: &Context<'_>) -> Wait {
        let mut state = self.lock();
        let since = *state.since.get_or_insert_with(Instant::now);
        let is_same = state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let former = if is_same {
            None
        } else {
            state.waker.replace(cx.waker().clone())
        };
        let wait = Wait {
            since,
            bytes: state.bytes,
            waited: state.waited,
            ended: state.ended,
        };
        drop(state);
        // Dropped without the lock: the last waker of a task drops the task.
        drop(former);
        wait
    }

    /// Records that `bytes` arrived, and returns how long the wait for them took.
    pub(crate) fn arrived(&self, bytes: u64) -> Duration {
        let mut state = self.lock();
        let waited = state.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        state.waited += waited;
        state.bytes += bytes;
        waited
    }

    /// Returns the rate of a body that the server currently waits for, in bytes per 1000 seconds, once the waits took
    /// at least `least`.
    pub(crate) fn rate(&self, least: Duration) -> Option<u64> {
        let state = self.lock();
        let waited = state.waited + state.since?.elapsed();
        if waited < least || state.ended {
            return None;
        }
        let millis = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX).max(1);
        Some(state.bytes.saturating_mul(1_000_000) / millis)
    }

    /// Ends a body that the server waits for: its reader gets an error.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
