//! [`Locks`]: serializes the changes of each key.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::key::BlobKey;

/// The number of locks. Keys rarely share one: among 64 uploads that end together, about two wait for another.
const SHARDS: u16 = 1024;

/// A lock for every key; some keys share one. Only blocking threads hold locks.
pub(super) struct Locks {
    hasher: RandomState,
    shards: Box<[Mutex<()>]>,
}

impl fmt::Debug for Locks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locks").finish_non_exhaustive()
    }
}

impl Locks {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Waits for the lock of `key`. A thread never holds two.
    pub(super) fn lock(&self, key: &BlobKey) -> Option<MutexGuard<'_, ()>> {
        let shard = self.hasher.hash_one(key) % u64::from(SHARDS);
        let shard = self.shards.get(usize::try_from(shard).ok()?)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
