//! Where the numbers come from.

use std::time::Duration;

use http::{Method, StatusCode};
use metrics::{Counter, Label, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use super::names::{
    ACTIVE_REQUESTS, ALL, FSYNC_DURATION, FSYNC_ERRORS, Kind, LABEL_ERROR, LABEL_KIND, LABEL_METHOD, LABEL_OPERATION,
    LABEL_OUTCOME, LABEL_REASON, LABEL_STATUS, LABEL_TARGET, PROBES, REFUSALS, REQUEST_DURATION, REQUEST_SIZE,
    RESPONSE_SIZE, SHED, STORE_ERRORS, STORED_FILES, STORED_SIZE, Unit,
};
use crate::error::ErrorKind;

const KINDS: [&str; 4] = ["voicemail", "call_recording", "fax", "other"];
const TARGETS: [&str; 3] = ["journal", "upload", "file_system"];
const REASONS: [&str; 3] = ["requests", "connections", "unheard"];
const OPERATIONS: [&str; 6] = ["put", "get", "head", "metadata", "check", "read"];

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
    for kind in KINDS {
        zero(counter!(STORED_FILES, LABEL_KIND => kind));
        zero(counter!(STORED_SIZE, LABEL_KIND => kind));
    }
    for target in TARGETS {
        zero(counter!(FSYNC_ERRORS, LABEL_TARGET => target));
    }
    for reason in REASONS {
        zero(counter!(SHED, LABEL_REASON => reason));
    }
    for outcome in ["answered", "failed"] {
        zero(counter!(PROBES, LABEL_OUTCOME => outcome));
    }
    for kind in ErrorKind::ALL {
        zero(counter!(REFUSALS, LABEL_ERROR => kind.as_str()));
        for operation in OPERATIONS.into_iter().filter(|_| kind.status().is_server_error()) {
            zero(store_errors(operation, kind));
        }
    }
    for method in ["GET", "PUT", "POST"] {
        gauge!(ACTIVE_REQUESTS, LABEL_METHOD => method).increment(0);
    }
}

/// The method as a label: what a client makes up is none.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

pub(crate) fn begun(method: &Method) {
    gauge!(ACTIVE_REQUESTS, LABEL_METHOD => label(method)).increment(1);
}

/// What is counted of every request that is over.
pub(crate) struct Finished<'a> {
    pub(crate) method: &'a Method,
    pub(crate) status: Option<StatusCode>,
    /// How it failed, if it did.
    pub(crate) failure: Option<&'static str>,
    pub(crate) elapsed: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// The error it was answered with.
    pub(crate) refused: Option<ErrorKind>,
    /// Whether the probe was answered, if it was one.
    pub(crate) probe: Option<bool>,
}

// A size beyond 2^53 is no size.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn finished(request: &Finished<'_>) {
    let method = label(request.method);
    gauge!(ACTIVE_REQUESTS, LABEL_METHOD => method).decrement(1);
    let mut labels = vec![Label::from_static_parts(LABEL_METHOD, method)];
    if let Some(status) = request.status {
        labels.push(Label::new(LABEL_STATUS, status.as_str().to_owned()));
    }
    histogram!(REQUEST_SIZE, labels.clone()).record(request.bytes_in as f64);
    histogram!(RESPONSE_SIZE, labels.clone()).record(request.bytes_out as f64);
    if let Some(failure) = request.failure {
        labels.push(Label::from_static_parts(LABEL_ERROR, failure));
    }
    histogram!(REQUEST_DURATION, labels).record(request.elapsed);
    if let Some(kind) = request.refused {
        counter!(REFUSALS, LABEL_ERROR => kind.as_str()).increment(1);
    }
    if let Some(answered) = request.probe {
        let outcome = if answered { "answered" } else { "failed" };
        counter!(PROBES, LABEL_OUTCOME => outcome).increment(1);
    }
}

pub(crate) fn stored(kind: &'static str, len: u64) {
    counter!(STORED_FILES, LABEL_KIND => kind).increment(1);
    counter!(STORED_SIZE, LABEL_KIND => kind).increment(len);
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

/// The disk was told to sync `target`.
pub(crate) fn synced(target: &'static str, elapsed: Duration, failed: bool) {
    histogram!(FSYNC_DURATION, LABEL_TARGET => target).record(elapsed);
    if failed {
        counter!(FSYNC_ERRORS, LABEL_TARGET => target).increment(1);
    }
}
