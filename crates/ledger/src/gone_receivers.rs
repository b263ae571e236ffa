//! [`GoneReceivers`]: the receivers that want no more events.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// The names of the receivers that have answered 410 since their registration. Clones share them.
///
/// They are not in the database: another process that shares the ledger finds out by itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct GoneReceivers(Arc<Mutex<BTreeSet<String>>>);

impl GoneReceivers {
    #[cfg(any(feature = "amqp", feature = "webhooks"))]
    pub(crate) fn insert(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(name.to_owned());
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.contains(name)
    }
}
