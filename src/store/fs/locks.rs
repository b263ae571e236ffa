//! [`Locks`]: serializes the changes of each key.

use std::{
    collections::BTreeSet,
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::key::BlobKey;

/// The number of locks. Keys rarely share one: among 64 uploads that end together, about one in two times one waits for another, and
/// during a deletion of 64 files, one upload in 64 waits.
const SHARDS: u16 = 4096;

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

    /// Waits for the lock of `key`. The thread must hold no lock.
    pub(super) fn lock(&self, key: &BlobKey) -> Option<MutexGuard<'_, ()>> {
        self.lock_shard(self.shard_of(key))
    }

    /// Waits for the locks of `keys`, in an order that all threads share. The thread must hold no lock.
    pub(super) fn lock_all(&self, keys: &[&BlobKey]) -> Vec<MutexGuard<'_, ()>> {
        // Each once: keys share locks.
        let shards: BTreeSet<_> = keys.iter().map(|key| self.shard_of(key)).collect();
        shards.into_iter().filter_map(|shard| self.lock_shard(shard)).collect()
    }

    fn shard_of(&self, key: &BlobKey) -> u64 {
        self.hasher.hash_one(key) % u64::from(SHARDS)
    }

    fn lock_shard(&self, shard: u64) -> Option<MutexGuard<'_, ()>> {
        let shard = self.shards.get(usize::try_from(shard).ok()?)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
