use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, RandomState},
};

use percent_encoding::percent_decode;
use subtle::ConstantTimeEq as _;

/// The most bytes of a secret as it is shown, decoded: user, colon and password, or a token.
pub(super) const MAX_SHOWN: usize = 2 * MAX_SECRET + 1;

/// The most bytes of a user, a password or a token.
pub(super) const MAX_SECRET: usize = 1024;

/// Texts, each with the number of the credential it belongs to.
///
/// A text is found by its hash under a random key, so the time for it depends neither on how many there are nor on how
/// much of one is right. Where the hash is the same, the texts are compared in constant time.
#[derive(Clone, Default)]
pub(super) struct Lookup {
    key: RandomState,
    by_hash: HashMap<u64, Vec<Entry>>,
}

/// A text, and the number of its credential.
type Entry = (Box<[u8]>, usize);

impl Lookup {
    /// Adds `text`; of two credentials with the same text the later one is found.
    pub(super) fn insert(&mut self, text: String, credential: usize) {
        let text = text.into_bytes().into_boxed_slice();
        let entries = self.by_hash.entry(self.key.hash_one(&*text)).or_default();
        entries.retain(|(other, _)| *other != text);
        entries.push((text, credential));
    }

    pub(super) fn find(&self, text: &[u8]) -> Option<usize> {
        if text.len() > MAX_SHOWN {
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

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").finish_non_exhaustive()
    }
}

/// Percent-decodes `text` once, unless it is too long to be a secret.
pub(super) fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > 3 * MAX_SHOWN {
        return None;
    }
    work::add(text.len());
    Some(percent_decode(text).collect())
}

/// Counts the bytes of presented secrets that are decoded, hashed or compared, for the tests of this module's budget.
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
