use std::{collections::HashSet, fmt};

/// The tokens, to be looked for in what is logged, which is much: by their hashes, while what lets somebody in is compared
/// in a time that tells nothing.
#[derive(Clone, Default)]
pub(super) struct Tokens(HashSet<String>);

impl Tokens {
    pub(super) fn insert(&mut self, token: &str) {
        self.0.insert(token.to_owned());
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        self.0.contains(text)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}
