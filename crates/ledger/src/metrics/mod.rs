//! Measurements of the ledger and of its deliveries, recorded through the crate [`metrics`](https://docs.rs/metrics).
//!
//! The application installs a recorder before it opens the ledger; without one, nothing is recorded. Commits, events,
//! failures and deliveries are recorded where they happen. [`watch`] records what waits in the ledger:
//!
//! ```
//! use kazoo_storage_ledger::{Ledger, metrics};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("ledger.sqlite");
//! // After the recorder is installed.
//! metrics::describe();
//! let ledger = Ledger::sqlite(path).await?;
//! tokio::spawn(metrics::watch(ledger.clone()));
//! # Ok::<(), kazoo_storage::Error>(())
//! # }).unwrap();
//! ```
//!
//! [`ALL`] lists the metrics. Their labels contain the names of receivers, which come from the configuration, and no text
//! from a request.

mod backlog;
mod describe;

pub use self::{backlog::watch, describe::describe};
pub use crate::measure::names::{
    ALL, COMMIT_DURATION, COMMIT_WRITES, DELIVERY_ATTEMPTS, DELIVERY_DURATION, EVENTS_DEAD, EVENTS_OLDEST_AGE,
    EVENTS_RECORDED, EVENTS_WAITING, LABEL_CAUSE, LABEL_EVENT, LABEL_OUTCOME, LABEL_RECEIVER, LEDGER_ERRORS,
    LEDGER_SIZE, QUOTA_NEAR, QUOTA_REFUSALS, RETENTION_FAILURES, RETENTION_REMOVED, RETENTION_SUSPENDED,
};
