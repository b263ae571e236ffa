//! [`KeyLocks`]: serializes the changes of each key.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kazoo_storage::BlobKey;
use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// A lock for each key that is being changed. A task may hold one for long, so no two keys share one.
#[derive(Clone, Default)]
pub(crate) struct KeyLocks(Arc<Mutex<HashMap<BlobKey, Lock>>>);

impl KeyLocks {
    /// Waits for the lock of `key`.
    pub(crate) async fn lock(self, key: BlobKey) -> KeyGuard {
        let lock = Arc::clone(self.map().entry(key.clone()).or_default());
        // Exists before the wait: if the wait is given up, its drop cleans up.
        let mut guard = KeyGuard {
            held: None,
            lock: Arc::clone(&lock),
            locks: self,
            key,
        };
        guard.held = Some(lock.lock_owned().await);
        guard
    }

    fn map(&self) -> MutexGuard<'_, HashMap<BlobKey, Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyLocks").finish_non_exhaustive()
    }
}

/// Holds the lock of a key until it is dropped.
pub(crate) struct KeyGuard {
    held: Option<OwnedMutexGuard<()>>,
    lock: Lock,
    locks: KeyLocks,
    key: BlobKey,
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        let mut map = self.locks.map();
        self.held = None;
        // The map and this guard have the only two: nobody waits. New ones are made under the lock of the map.
        if Arc::strong_count(&self.lock) == 2 {
            map.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[tokio::test]
    async fn keeps_no_lock_that_nobody_holds_or_awaits() {
        let locks = KeyLocks::default();
        let key = BlobKey::from_segments(["a"]).unwrap();
        let first = locks.clone().lock(key.clone()).await;
        {
            let mut given_up = pin!(locks.clone().lock(key.clone()));
            assert!(
                given_up
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            // The first leaves while the second waits.
            let mut third = pin!(locks.clone().lock(key.clone()));
            assert!(
                third
                    .as_mut()
                    .poll(&mut Context::from_waker(Waker::noop()))
                    .is_pending()
            );
            drop(first);
            assert_eq!(locks.map().len(), 1);
        }
        assert_eq!(locks.map().len(), 0);
    }
}
