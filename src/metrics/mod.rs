//! Measurements of this crate, recorded through the crate [`metrics`](https://docs.rs/metrics).
//!
//! The application installs a recorder; without one, nothing is recorded.
//! [`Metrics`](crate::observe::Metrics) is an [`Events`](crate::observe::Events) implementation that counts requests.
//! [`MeasuredStore`](crate::store::MeasuredStore) counts the failures of its store. `FsStore` and
//! [`LimitConcurrency`](crate::LimitConcurrency) always record.
//!
//! ```
//! use kazoo_storage::{KazooStorage, MemoryStore, metrics, store::MeasuredStore, observe::Metrics};
//!
//! // After the recorder is installed.
//! metrics::describe();
//! let storage = KazooStorage::new(MeasuredStore::new(MemoryStore::new())).observe(Metrics::new()).into_service();
//! # let _ = storage;
//! ```
//!
//! [`ALL`] lists the metrics, with those that only the server program records; the crate `kazoo-storage-ledger` lists its
//! own. Their names follow OpenTelemetry's conventions for HTTP where one exists. No label
//! contains an account, a key, or other text from a request, so there are at most a few hundred series.

mod names;
mod record;
mod requests;

pub use self::names::{
    ACTIVE_REQUESTS, ALL, CONNECTIONS, ERROR_RESPONSES, FSYNC_DURATION, FSYNC_ERRORS, Kind, LABEL_ERROR, LABEL_KIND,
    LABEL_METHOD, LABEL_OPERATION, LABEL_OUTCOME, LABEL_REASON, LABEL_STATUS, LABEL_TARGET, Metric, PROBES,
    PROCESS_CPU, PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_OPEN_FDS, READY, REJECTIONS, REQUEST_DURATION, REQUEST_SIZE,
    RESPONSE_SIZE, STORE_ERRORS, STORED_BYTES, STORED_FILES, Unit,
};
pub use self::record::describe;
pub(crate) use self::{
    record::{fetch_failed, shed, store_failed},
    requests::{Finished, RequestCounts},
};
