//! Opens the store and the ledger of a configuration.

pub(crate) mod bucket;
pub(crate) mod ledger;
pub(crate) mod store;
