//! Every metric by its name, and what it says: the dashboard, the alerts and the documentation have them from here.

/// The request's method; any other than HTTP's own is `_OTHER`.
pub const LABEL_METHOD: &str = "http.request.method";
/// The status of the answer.
pub const LABEL_STATUS: &str = "http.response.status_code";
/// The name of an [`ErrorKind`](crate::ErrorKind), or how else a request failed.
pub const LABEL_ERROR: &str = "error.type";
/// `voicemail`, `call_recording`, `fax` or `other`.
pub const LABEL_KIND: &str = "kind";
/// `answered` or `failed`.
pub const LABEL_OUTCOME: &str = "outcome";
/// Which limit was reached: `requests`, `connections`, or `unheard`.
pub const LABEL_REASON: &str = "reason";
/// What the store was asked for: `put`, `get`, `head`, `metadata`, `check`, or `read` for the bytes of a fetch.
pub const LABEL_OPERATION: &str = "operation";
/// What was synced: `journal`, `upload` or `file_system`.
pub const LABEL_TARGET: &str = "target";

/// From the head of a request to the end of its answer.
pub const REQUEST_DURATION: &str = "http.server.request.duration";
/// Requests that have begun and not ended.
pub const ACTIVE_REQUESTS: &str = "http.server.active_requests";
/// The body of a request.
pub const REQUEST_SIZE: &str = "http.server.request.body.size";
/// The body of an answer.
pub const RESPONSE_SIZE: &str = "http.server.response.body.size";
/// Files that were stored.
pub const STORED_FILES: &str = "kazoo_storage.stored.files";
/// Their bytes.
pub const STORED_SIZE: &str = "kazoo_storage.stored.size";
/// Requests that were answered with an error.
pub const REFUSALS: &str = "kazoo_storage.refusals";
/// KAZOO's credentials probes.
pub const PROBES: &str = "kazoo_storage.probes";
/// What was turned away under load.
pub const SHED: &str = "kazoo_storage.shed";
/// What the store failed to do.
pub const STORE_ERRORS: &str = "kazoo_storage.store.errors";
/// How long the disk took to make an upload durable.
pub const FSYNC_DURATION: &str = "kazoo_storage.fsync.duration";
/// Syncs that failed.
pub const FSYNC_ERRORS: &str = "kazoo_storage.fsync.errors";
/// Open connections of the server.
pub const CONNECTIONS: &str = "kazoo_storage.connections";
/// Whether the server is ready.
pub const READY: &str = "kazoo_storage.ready";

/// Processor time of the process; on Linux, as are the next three.
pub const PROCESS_CPU: &str = "process.cpu";
/// Its memory.
pub const PROCESS_MEMORY: &str = "process.resident_memory";
/// Its open files and connections.
pub const PROCESS_OPEN_FDS: &str = "process.open_fds";
/// How many it may have.
pub const PROCESS_MAX_FDS: &str = "process.max_fds";

/// One metric.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it counts in.
    pub unit: Unit,
    /// The labels it may have.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub description: &'static str,
}

/// The kind of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It is spread over buckets.
    Histogram,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
}

impl Metric {
    /// Its name as Prometheus has it: with `_` for each dot, its unit and, if it is a counter, `_total`. A histogram has
    /// `_bucket`, `_sum` and `_count` behind that.
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

/// Every metric there is.
pub const ALL: &[Metric] = &[
    Metric {
        name: REQUEST_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[LABEL_METHOD, LABEL_STATUS, LABEL_ERROR],
        description: "From the head of a request to the end of its answer; no status if there was no answer",
    },
    Metric {
        name: ACTIVE_REQUESTS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[LABEL_METHOD],
        description: "Requests that have begun and whose answer has not gone out",
    },
    Metric {
        name: REQUEST_SIZE,
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        labels: &[LABEL_METHOD, LABEL_STATUS],
        description: "The bytes that were read of a request's body, multipart and base64 included",
    },
    Metric {
        name: RESPONSE_SIZE,
        kind: Kind::Histogram,
        unit: Unit::Bytes,
        labels: &[LABEL_METHOD, LABEL_STATUS],
        description: "The bytes that were taken of an answer's body",
    },
    Metric {
        name: STORED_FILES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_KIND],
        description: "Files that were stored, by what they are",
    },
    Metric {
        name: STORED_SIZE,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &[LABEL_KIND],
        description: "The bytes of the files that were stored, decoded",
    },
    Metric {
        name: REFUSALS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_ERROR],
        description: "Requests that were answered with an error, by its name",
    },
    Metric {
        name: PROBES,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_OUTCOME],
        description: "Stores and fetches of the file by which KAZOO tries its storage settings",
    },
    Metric {
        name: SHED,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_REASON],
        description: "Requests that were asked to come again because a limit was reached, and connections closed unheard",
    },
    Metric {
        name: STORE_ERRORS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_OPERATION, LABEL_ERROR],
        description: "What the store failed to do by its own fault",
    },
    Metric {
        name: FSYNC_DURATION,
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        labels: &[LABEL_TARGET],
        description: "How long the disk took to sync, of a store in a directory; many uploads share one of the journal",
    },
    Metric {
        name: FSYNC_ERRORS,
        kind: Kind::Counter,
        unit: Unit::Count,
        labels: &[LABEL_TARGET],
        description: "Syncs that failed: nothing is stored any more until the server is started again",
    },
    Metric {
        name: CONNECTIONS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Open connections of the server, those that are turned away among them",
    },
    Metric {
        name: READY,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "1 if the store works and the server is not stopping, and otherwise 0",
    },
    Metric {
        name: PROCESS_CPU,
        kind: Kind::Counter,
        unit: Unit::Seconds,
        labels: &[],
        description: "Processor time that the server has used, in whole seconds; Linux only",
    },
    Metric {
        name: PROCESS_MEMORY,
        kind: Kind::Gauge,
        unit: Unit::Bytes,
        labels: &[],
        description: "Memory that the server has in use; Linux only",
    },
    Metric {
        name: PROCESS_OPEN_FDS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Files and connections that the server has open; Linux only",
    },
    Metric {
        name: PROCESS_MAX_FDS,
        kind: Kind::Gauge,
        unit: Unit::Count,
        labels: &[],
        description: "Files and connections that the server may have open; Linux only",
    },
];
