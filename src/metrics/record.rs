//! Functions that record metrics outside of requests, and [`describe`].

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram};

use super::{
    names::{
        ALL, FSYNC_ERRORS, Kind, LABEL_ERROR, LABEL_OPERATION, LABEL_REASON, LABEL_TARGET, Metric, REJECTIONS,
        STORE_ERRORS, Unit,
    },
    requests::RequestCounts,
};
use crate::error::ErrorKind;

const TARGETS: [&str; 3] = ["journal", "upload", "file_system"];
const REASONS: [&str; 3] = ["request_limit", "connection_limit", "connection_dropped"];
const OPERATIONS: [&str; 9] = [
    "put", "get", "head", "metadata", "describe", "check", "list", "delete", "read",
];

impl Metric {
    /// Describes the metric to the recorder.
    pub fn describe(&self) {
        let unit = match self.unit {
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
            Unit::Count => metrics::Unit::Count,
        };
        match self.kind {
            Kind::Counter => describe_counter!(self.name, unit, self.description),
            Kind::Gauge => describe_gauge!(self.name, unit, self.description),
            Kind::Histogram => describe_histogram!(self.name, unit, self.description),
        }
    }
}

/// Describes all metrics of this crate to the recorder, and initializes every error counter to 0.
///
/// Without the 0, Prometheus does not see the first error as an increase.
pub fn describe() {
    for metric in ALL {
        metric.describe();
    }
    let zero = |counter: Counter| counter.increment(0);
    for target in TARGETS {
        zero(counter!(FSYNC_ERRORS, LABEL_TARGET => target));
    }
    for reason in REASONS {
        zero(counter!(REJECTIONS, LABEL_REASON => reason));
    }
    for kind in ErrorKind::ALL {
        for operation in OPERATIONS.into_iter().filter(|_| kind.status().is_server_error()) {
            zero(store_errors(operation, kind));
        }
    }
    // Looking up the metrics of requests creates them.
    drop(RequestCounts::new());
}

/// Records that a request was rejected because a limit was reached.
pub(crate) fn shed() {
    counter!(REJECTIONS, LABEL_REASON => "request_limit").increment(1);
}

/// Records that `operation` of a store failed with an error of `kind`. Errors of the client are not counted.
pub(crate) fn store_failed(operation: &'static str, kind: ErrorKind) {
    if kind.status().is_server_error() {
        store_errors(operation, kind).increment(1);
    }
}

/// Records that a fetch failed after its response had started.
pub(crate) fn fetch_failed(kind: ErrorKind) {
    store_failed("read", kind);
}

fn store_errors(operation: &'static str, kind: ErrorKind) -> Counter {
    counter!(STORE_ERRORS, LABEL_OPERATION => operation, LABEL_ERROR => kind.as_str())
}
