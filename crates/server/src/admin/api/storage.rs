//! [`Storage`]: the files of the server.

use kazoo_storage::{Error, ErrorKind, store::DynBlobCatalog};
use kazoo_storage_ledger::{Ledger, Recorded};

/// The files of the server.
pub(crate) struct Storage {
    pub(crate) ledger: Option<Ledger>,
    /// The store and the ledger, to compare them, and to remove files from both.
    pub(crate) recorded: Option<Recorded<DynBlobCatalog>>,
    /// The store, which records deletions in the ledger.
    pub(crate) store: DynBlobCatalog,
    /// The same store, for contents: it redirects no fetch.
    pub(crate) contents: DynBlobCatalog,
}

impl Storage {
    /// Returns the ledger, or the error of a server without one.
    pub(super) fn ledger(&self) -> Result<&Ledger, Error> {
        self.ledger.as_ref().ok_or_else(no_ledger)
    }

    /// Returns the store with its ledger, or the error of a server without one.
    pub(super) fn recorded(&self) -> Result<&Recorded<DynBlobCatalog>, Error> {
        self.recorded.as_ref().ok_or_else(no_ledger)
    }
}

fn no_ledger() -> Error {
    let message = "this server has no ledger, so it keeps no events and no holds, and cannot search its files; start it with \
                   --ledger";
    Error::new(ErrorKind::Conflict, message)
}
