//! [`Failure`]: the state of the journal after a failed sync.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, ErrorKind, Result};

/// Set by the first failed sync. From then on nothing is made durable, because the kernel may mark pages as written
/// although it failed to write them.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<AtomicBool>);

impl Failure {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns an error if a sync has failed.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_set() { Err(unavailable()) } else { Ok(()) }
    }

    /// Sets the failure, and explains its consequence in `error`, the error of the sync.
    pub(super) fn caused_by(&self, error: Error) -> Error {
        self.set();
        let message = format!("{error}; uploads are refused until the store is opened again");
        Error::new(error.kind(), message).with_source(error)
    }
}

/// Returns the error for every change after a failed sync.
pub(super) fn unavailable() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the storage's disk failed to store an upload earlier; uploads are refused until the disk works and the store is \
         opened again",
    )
}
