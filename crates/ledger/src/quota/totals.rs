//! [`Totals`]: the files of the accounts with a quota, in memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::Quota;

/// The part of a quota from which on an account is near its limit.
const NEAR: (u64, u64) = (8, 10);

/// The totals of accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals(Arc<Mutex<HashMap<String, Total>>>);

/// The files of an account.
#[derive(Clone, Copy, Debug, Default)]
struct Total {
    bytes: u64,
    files: u64,
    /// Uploads that have begun.
    pending: u64,
    /// Their known lengths together.
    pending_bytes: u64,
}

/// The decision about an upload.
pub(super) enum Admission {
    Admitted(Reservation),
    Full,
}

/// The space of an upload that has begun, until it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    totals: Totals,
    account: String,
    len: u64,
}

impl Totals {
    fn map(&self) -> MutexGuard<'_, HashMap<String, Total>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the accounts whose totals are known.
    pub(super) fn accounts(&self) -> Vec<String> {
        self.map().keys().cloned().collect()
    }

    /// Sets what the ledger has of `account`.
    pub(super) fn set(&self, account: &str, bytes: u64, files: u64) {
        let mut map = self.map();
        let total = map.entry(account.to_owned()).or_default();
        (total.bytes, total.files) = (bytes, files);
        if files == 0 && total.pending == 0 {
            map.remove(account);
        }
    }

    /// Forgets the total of `account`, which is read again before the next upload.
    pub(super) fn forget(&self, account: &str) {
        let mut map = self.map();
        if map.get(account).is_some_and(|total| total.pending == 0) {
            map.remove(account);
        }
    }

    /// Reserves space for an upload of `len` bytes, if that is known. An upload of unknown length needs at least one byte.
    ///
    /// `recorded` is what the ledger has of `account`, bytes and files. It is used if the total is not known; returns `None` if it is
    /// required.
    pub(super) fn admit(
        &self,
        account: &str,
        quota: &Quota,
        len: Option<u64>,
        recorded: Option<(u64, u64)>,
    ) -> Option<Admission> {
        let mut map = self.map();
        if let Some((bytes, files)) = recorded
            && !map.contains_key(account)
        {
            let total = Total {
                bytes,
                files,
                ..Total::default()
            };
            map.insert(account.to_owned(), total);
        }
        let total = map.get_mut(account)?;
        let needed = total
            .bytes
            .saturating_add(total.pending_bytes)
            .saturating_add(len.unwrap_or(1));
        let files = total.files.saturating_add(total.pending).saturating_add(1);
        if quota.bytes.is_some_and(|limit| needed > limit) || quota.files.is_some_and(|limit| files > limit) {
            return Some(Admission::Full);
        }
        let len = len.unwrap_or_default();
        total.pending += 1;
        total.pending_bytes = total.pending_bytes.saturating_add(len);
        Some(Admission::Admitted(Reservation {
            totals: self.clone(),
            account: account.to_owned(),
            len,
        }))
    }

    /// Returns `true` if `account` uses at least four fifths of its quota.
    pub(super) fn is_near(&self, account: &str, quota: &Quota) -> bool {
        let map = self.map();
        let Some(total) = map.get(account) else { return false };
        let near = |used: u64, limit: Option<u64>| {
            limit.is_some_and(|limit| used.saturating_mul(NEAR.1) >= limit.saturating_mul(NEAR.0))
        };
        near(total.bytes, quota.bytes) || near(total.files, quota.files)
    }
}

impl Reservation {
    /// Adds a new file of `len` bytes to the total.
    pub(super) fn stored(self, len: u64) {
        if let Some(total) = self.totals.map().get_mut(&self.account) {
            total.files = total.files.saturating_add(1);
            total.bytes = total.bytes.saturating_add(len);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(total) = self.totals.map().get_mut(&self.account) {
            total.pending = total.pending.saturating_sub(1);
            total.pending_bytes = total.pending_bytes.saturating_sub(self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decides_with_what_the_ledger_has_if_the_total_was_forgotten() {
        let (totals, quota) = (Totals::default(), Quota::of("A").bytes(10));
        let admit = |len, recorded| totals.admit("A", &quota, Some(len), recorded);
        assert!(admit(4, None).is_none());
        let Some(Admission::Admitted(first)) = admit(4, Some((4, 1))) else {
            panic!("4 of 10 bytes are used")
        };
        assert!(matches!(admit(4, Some((0, 0))), Some(Admission::Full)), "it is pending");
        totals.forget("A");
        assert!(matches!(admit(4, None), Some(Admission::Full)), "it is pending");
        drop(first);
        totals.forget("A");
        assert!(admit(4, None).is_none());
        assert!(matches!(admit(4, Some((8, 2))), Some(Admission::Full)));
    }
}
