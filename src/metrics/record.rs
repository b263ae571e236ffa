//! Where the numbers come from.

use metrics::{Counter, counter, describe_counter, describe_gauge, describe_histogram};

use super::{
    names::{
        ALL, FSYNC_ERRORS, Kind, LABEL_ERROR, LABEL_OPERATION, LABEL_REASON, LABEL_TARGET, SHED, STORE_ERRORS, Unit,
    },
    requests::RequestCounts,
};
use crate::error::ErrorKind;

const TARGETS: [&str; 3] = ["journal", "upload", "file_system"];
const REASONS: [&str; 3] = ["requests", "connections", "unheard"];
const OPERATIONS: [&str; 8] = ["put", "get", "head", "metadata", "check", "list", "delete", "read"];

/// Tells the recorder what there is, and has every counter of what may go wrong begin at 0: one that appears with its
/// first error looks to many a system as if nothing had been counted.
pub fn describe() {
    for metric in ALL {
        let unit = match metric.unit {
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
            Unit::Count => metrics::Unit::Count,
        };
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.description),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.description),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.description),
        }
    }
    let zero = |counter: Counter| counter.increment(0);
    for target in TARGETS {
        zero(counter!(FSYNC_ERRORS, LABEL_TARGET => target));
    }
    for reason in REASONS {
        zero(counter!(SHED, LABEL_REASON => reason));
    }
    for kind in ErrorKind::ALL {
        for operation in OPERATIONS.into_iter().filter(|_| kind.status().is_server_error()) {
            zero(store_errors(operation, kind));
        }
    }
    // All that requests are counted in is there once it has been looked up.
    drop(RequestCounts::new());
}

/// A request was turned away, and asked to come again.
pub(crate) fn shed() {
    counter!(SHED, LABEL_REASON => "requests").increment(1);
}

/// `operation` of a store failed with an error of `kind`, which counts if it is the store's fault.
pub(crate) fn store_failed(operation: &'static str, kind: ErrorKind) {
    if kind.status().is_server_error() {
        store_errors(operation, kind).increment(1);
    }
}

/// A file was found, and could not be read to its end.
pub(crate) fn fetch_broke_off(kind: ErrorKind) {
    store_failed("read", kind);
}

fn store_errors(operation: &'static str, kind: ErrorKind) -> Counter {
    counter!(STORE_ERRORS, LABEL_OPERATION => operation, LABEL_ERROR => kind.as_str())
}
