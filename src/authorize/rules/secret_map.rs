//! [`SecretMap`]: finds secrets in constant time.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
};

use percent_encoding::percent_decode;
use subtle::ConstantTimeEq as _;

/// The maximum length of a decoded secret in a request, in bytes: user, colon and password, or a token.
pub(super) const MAX_PRESENTED: usize = 2 * MAX_SECRET + 1;

/// The maximum length of a user, a password or a token, in bytes.
pub(super) const MAX_SECRET: usize = 1024;

/// A map from texts to the index of the credential that each belongs to.
///
/// The map is keyed by a hash under a random key, so the time of a lookup depends neither on the number of texts nor on
/// how much of a text is correct. Texts with the same hash are compared in constant time.
#[derive(Clone, Default)]
pub(super) struct SecretMap {
    key: RandomState,
    by_hash: HashMap<u64, Vec<Entry>>,
}

/// A text and the index of its credential.
type Entry = (Box<[u8]>, usize);

impl SecretMap {
    /// Adds `text`. If two credentials share a text, the later one wins.
    pub(super) fn insert(&mut self, text: String, credential: usize) {
        let text = text.into_bytes().into_boxed_slice();
        let entries = self.by_hash.entry(self.key.hash_one(&*text)).or_default();
        entries.retain(|(other, _)| *other != text);
        entries.push((text, credential));
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        if text.len() > MAX_PRESENTED {
            return None;
        }
        work::add(text.len());
        let mut found = None;
        for (expected, credential) in self.by_hash.get(&self.key.hash_one(text)).into_iter().flatten() {
            work::add(text.len());
            if bool::from(expected.ct_eq(text)) {
                found = Some(*credential);
            }
        }
        found
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.by_hash.values().flatten().map(|(text, _)| &**text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretMap").finish_non_exhaustive()
    }
}

/// Percent-decodes `text` once, or returns `None` if it is too long to be a secret.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > 3 * MAX_PRESENTED {
        return None;
    }
    work::add(text.len());
    Some(percent_decode(text).collect())
}

/// Counts the bytes of presented secrets that are decoded, hashed or compared, for the tests that bound this work.
pub(super) mod work {
    #[cfg(test)]
    thread_local! {
        static BYTES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    pub(in super::super) fn add(bytes: usize) {
        #[cfg(test)]
        BYTES.set(BYTES.get() + bytes);
        let _ = bytes;
    }

    #[cfg(test)]
    pub(in super::super) fn of(task: impl FnOnce()) -> usize {
        let before = BYTES.get();
        task();
        BYTES.get() - before
    }
}
