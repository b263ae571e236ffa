//! [`Uploads`]: the uploads to a store, to which long work yields.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant};

/// Time after an upload in which the next one is expected.
const RECENT: Duration = Duration::from_secs(1);

/// The uploads to a store. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uploads(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// The time at which the last one ended.
    ended: Option<Instant>,
}

/// An upload that is running.
#[derive(Debug)]
pub(crate) struct Running(Uploads);

impl Uploads {
    /// Counts an upload until the result is dropped.
    pub(crate) fn begin(&self) -> Running {
        self.state().running += 1;
        Running(self.clone())
    }

    /// Returns `true` if an upload is running, or was within the last second.
    pub(crate) fn are_recent(&self) -> bool {
        let state = self.state();
        state.running > 0 || state.ended.is_some_and(|ended| ended.elapsed() < RECENT)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.running -= 1;
        state.ended = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn uploads_are_recent_until_a_second_after_the_last_one() {
        let uploads = Uploads::default();
        assert!(!uploads.are_recent());
        let (first, second) = (uploads.begin(), uploads.clone().begin());
        advance(RECENT * 2).await;
        drop(first);
        advance(RECENT * 2).await;
        assert!(uploads.are_recent());
        drop(second);
        advance(Duration::from_millis(999)).await;
        assert!(uploads.are_recent());
        advance(Duration::from_millis(1)).await;
        assert!(!uploads.are_recent());
    }
}
