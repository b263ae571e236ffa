//! What the crate measures of itself, by the crate [`metrics`](https://docs.rs/metrics): whichever recorder the
//! application installs has the numbers.
//!
//! [`Metrics`](crate::observe::Metrics) is the [`Events`](crate::observe::Events) that counts requests, and
//! [`MeasuredStore`](crate::store::MeasuredStore) counts what its store fails to do. `FsStore` and
//! [`LimitConcurrency`](crate::LimitConcurrency) measure by themselves. Without a recorder none of it does anything.
//!
//! ```
//! use kazoo_storage::{KazooStorage, MemoryStore, metrics, store::MeasuredStore, observe::Metrics};
//!
//! // Behind the installation of a recorder.
//! metrics::describe();
//! let storage = KazooStorage::new(MeasuredStore::new(MemoryStore::new())).observe(Metrics::new()).into_service();
//! # let _ = storage;
//! ```
//!
//! [`ALL`] is the table of them. Names follow OpenTelemetry's conventions for HTTP where there is one. No label is an
//! account, a key, or any other text of a request, so there are a few hundred series at most.

mod names;
mod record;
mod requests;

pub use self::names::{
    ACTIVE_REQUESTS, ALL, CONNECTIONS, FSYNC_DURATION, FSYNC_ERRORS, Kind, LABEL_ERROR, LABEL_KIND, LABEL_METHOD,
    LABEL_OPERATION, LABEL_OUTCOME, LABEL_REASON, LABEL_STATUS, LABEL_TARGET, Metric, PROBES, PROCESS_CPU,
    PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_OPEN_FDS, READY, REFUSALS, REQUEST_DURATION, REQUEST_SIZE, RESPONSE_SIZE,
    SHED, STORE_ERRORS, STORED_FILES, STORED_SIZE, Unit,
};
pub use self::record::describe;
pub(crate) use self::{
    record::{fetch_broke_off, shed, store_failed},
    requests::{Finished, RequestCounts},
};
