//! The names, labels and descriptions of the metrics of this crate and of the server.
//!
//! The dashboard, the alerts and the documentation use these names; tests compare them.

/// Request method; `_OTHER` for a method that HTTP does not define.
pub const LABEL_METHOD: &str = "http.request.method";
/// Status code of the response.
pub const LABEL_STATUS: &str = "http.response.status_code";
/// Name of an [`ErrorKind`](crate::ErrorKind), `client_disconnected` or `service_error`.
pub const LABEL_ERROR: &str = "error.type";
/// `voicemail`, `call_recording`, `fax` or `other`.
pub const LABEL_KIND: &str = "kind";
/// `success` or `failure`.
pub const LABEL_OUTCOME: &str = "outcome";
/// Limit that was reached: `request_limit`, `connection_limit`, or `connection_dropped`.
pub const LABEL_REASON: &str = "reason";
/// Operation of the store: `put`, `get`, `head`, `metadata`, `describe`, `check`, `list`, `delete`, or `read` for the body
/// of a fetch.
pub const LABEL_OPERATION: &str = "operation";
/// Target of a sync: `journal`, `upload` or `file_system`.
pub const LABEL_TARGET: &str = "target";

/// Duration of a request, from its head to the end of the response.
pub const REQUEST_DURATION: &str = "http.server.request.duration";
/// Requests in progress.
pub const ACTIVE_REQUESTS: &str = "http.server.active_requests";
/// Size of a request body.
pub const REQUEST_SIZE: &str = "http.server.request.body.size";
/// Size of a response body.
pub const RESPONSE_SIZE: &str = "http.server.response.body.size";
/// Stored files.
pub const STORED_FILES: &str = "kazoo_storage.stored.files";
/// Bytes of the stored files.
pub const STORED_BYTES: &str = "kazoo_storage.stored";
/// Requests answered with an error.
pub const ERROR_RESPONSES: &str = "kazoo_storage.error_responses";
/// Credentials probes of KAZOO.
pub const PROBES: &str = "kazoo_storage.probes";
/// Requests and connections rejected because a limit was reached.
pub const REJECTIONS: &str = "kazoo_storage.rejections";
/// Failed operations of the store.
pub const STORE_ERRORS: &str = "kazoo_storage.store.errors";
/// Duration of a sync to the disk.
pub const FSYNC_DURATION: &str = "kazoo_storage.fsync.duration";
/// Failed syncs.
pub const FSYNC_ERRORS: &str = "kazoo_storage.fsync.errors";
/// Open connections of the server.
pub const CONNECTIONS: &str = "kazoo_storage.connections";
/// Readiness of the server.
pub const READY: &str = "kazoo_storage.ready";

/// Processor time of the process.
pub const PROCESS_CPU: &str = "process.cpu";
/// Resident memory of the process.
pub const PROCESS_MEMORY: &str = "process.resident_memory";
/// Open file descriptors of the process.
pub const PROCESS_OPEN_FDS: &str = "process.open_fds";
/// Maximum number of open file descriptors.
pub const PROCESS_MAX_FDS: &str = "process.max_fds";

/// A metric. Crates that build on this one describe their own with it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Name in the `metrics` crate.
    pub name: &'static str,
    /// Kind of value.
    pub kind: Kind,
    /// Unit of the value.
    pub unit: Unit,
    /// Possible labels.
    pub labels: &'static [&'static str],
    /// Description in one sentence.
    pub description: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that only increases.
    Counter,
    /// A value that increases and decreases.
    Gauge,
    /// A distribution over buckets.
    Histogram,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Number of items.
    Count,
}

impl Metric {
    /// Creates the description of a metric.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        unit: Unit,
        labels: &'static [&'static str],
        description: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            unit,
            labels,
            description,
        }
    }

    /// Returns the name in Prometheus: `_` for each dot, the unit, and `_total` for a counter.
    ///
    /// Prometheus appends `_bucket`, `_sum` and `_count` to the name of a histogram.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let unit = match self.unit {
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
            Unit::Count => "",
        };
        let total = if self.kind == Kind::Counter { "_total" } else { "" };
        self.name.replace('.', "_") + unit + total
    }
}

/// All metrics.
pub const ALL: &[Metric] = &[
    Metric {
        name: REQUEST_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[LABEL_METHOD, LABEL_STATUS, LABEL_ERROR],
        description: "Time from the request head to the end of the response; no status without a response",
    },
    Metric {
        name: ACTIVE_REQUESTS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[LABEL_METHOD],
        description: "Requests in progress, until the end of the response",
    },
    Metric {
        name: REQUEST_SIZE,
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        labels: &[LABEL_METHOD, LABEL_STATUS],
        description: "Bytes read from request bodies, before multipart and base64 decoding",
    },
    Metric {
        name: RESPONSE_SIZE,
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        labels: &[LABEL_METHOD, LABEL_STATUS],
        description: "Bytes sent of response bodies",
    },
    Metric {
        name: STORED_FILES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_KIND],
        description: "Stored files, by kind",
    },
    Metric {
        name: STORED_BYTES,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &[LABEL_KIND],
        description: "Bytes of the stored files, after decoding",
    },
    Metric {
        name: ERROR_RESPONSES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_ERROR],
        description: "Requests answered with an error, by the name of the error",
    },
    Metric {
        name: PROBES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_OUTCOME],
        description: "Credentials probes: uploads and fetches of the file with which KAZOO tests its storage settings",
    },
    Metric {
        name: REJECTIONS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_REASON],
        description: "Requests rejected with 503 because a limit was reached, and connections dropped without a response",
    },
    Metric {
        name: STORE_ERRORS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_OPERATION, LABEL_ERROR],
        description: "Operations that failed because of the store",
    },
    Metric {
        name: FSYNC_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[LABEL_TARGET],
        description: "Duration of syncs to the disk; many uploads share one sync of the journal",
    },
    Metric {
        name: FSYNC_ERRORS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_TARGET],
        description: "Failed syncs; uploads are rejected until the server is restarted",
    },
    Metric {
        name: CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Open connections, including those being rejected",
    },
    Metric {
        name: READY,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "1 if the store works and the server is not shutting down, otherwise 0",
    },
    Metric {
        name: PROCESS_CPU,
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: &[],
        description: "Processor time of the server, in whole seconds",
    },
    Metric {
        name: PROCESS_MEMORY,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &[],
        description: "Resident memory of the server",
    },
    Metric {
        name: PROCESS_OPEN_FDS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Open file descriptors of the server",
    },
    Metric {
        name: PROCESS_MAX_FDS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Maximum number of open file descriptors",
    },
];
