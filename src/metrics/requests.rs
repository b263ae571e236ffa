//! The metrics of requests.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::names::{
    ACTIVE_REQUESTS, ERROR_RESPONSES, LABEL_ERROR, LABEL_KIND, LABEL_METHOD, LABEL_OUTCOME, LABEL_STATUS, PROBES,
    REQUEST_DURATION, REQUEST_SIZE, RESPONSE_SIZE, STORED_BYTES, STORED_FILES,
};
use crate::error::ErrorKind;

/// The values of the label for the method. The last one stands for every other method.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "_OTHER",
];
const KINDS: [&str; 4] = ["voicemail", "call_recording", "fax", "other"];

/// The metrics of requests. They are looked up once, because a lookup costs more than an increment.
pub(crate) struct RequestCounts {
    active: [Gauge; METHODS.len()],
    files: [Counter; KINDS.len()],
    bytes: [Counter; KINDS.len()],
    errors: [Counter; ErrorKind::ALL.len()],
    probe_successes: Counter,
    probe_failures: Counter,
    histograms: RwLock<HashMap<ResponseLabels, Histograms>>,
}

/// The labels of a response.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct ResponseLabels {
    method: &'static str,
    status: Option<StatusCode>,
    failure: Option<&'static str>,
}

struct Histograms {
    duration: Histogram,
    received: Histogram,
    sent: Histogram,
}

/// A finished request.
pub(crate) struct Finished<'a> {
    pub(crate) method: &'a Method,
    pub(crate) status: Option<StatusCode>,
    /// Value of `error.type`, if the request failed.
    pub(crate) failure: Option<&'static str>,
    pub(crate) elapsed: Duration,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Error in the response.
    pub(crate) response_error: Option<ErrorKind>,
    /// `true` if the request is a probe that succeeded, `false` if it is one that failed.
    pub(crate) probe: Option<bool>,
}

impl RequestCounts {
    pub(crate) fn new() -> Self {
        Self {
            active: METHODS.map(|method| gauge!(ACTIVE_REQUESTS, LABEL_METHOD => method)),
            files: KINDS.map(|kind| counter!(STORED_FILES, LABEL_KIND => kind)),
            bytes: KINDS.map(|kind| counter!(STORED_BYTES, LABEL_KIND => kind)),
            errors: ErrorKind::ALL.map(|kind| counter!(ERROR_RESPONSES, LABEL_ERROR => kind.as_str())),
            probe_successes: counter!(PROBES, LABEL_OUTCOME => "success"),
            probe_failures: counter!(PROBES, LABEL_OUTCOME => "failure"),
            histograms: RwLock::default(),
        }
    }

    pub(crate) fn started(&self, method: &Method) {
        if let Some(active) = at(&METHODS, &self.active, label(method)) {
            active.increment(1);
        }
    }

    // Sizes are below 2^53.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn finished(&self, request: &Finished<'_>) {
        let method = label(request.method);
        if let Some(active) = at(&METHODS, &self.active, method) {
            active.decrement(1);
        }
        let labels = ResponseLabels {
            method,
            status: request.status,
            failure: request.failure,
        };
        self.record(labels, |histograms| {
            histograms.duration.record(request.elapsed);
            histograms.received.record(request.bytes_in as f64);
            histograms.sent.record(request.bytes_out as f64);
        });
        if let Some(kind) = request.response_error
            && let Some(errors) = at(&ErrorKind::ALL, &self.errors, kind)
        {
            errors.increment(1);
        }
        match request.probe {
            Some(true) => self.probe_successes.increment(1),
            Some(false) => self.probe_failures.increment(1),
            None => {}
        }
    }

    pub(crate) fn stored(&self, kind: &'static str, len: u64) {
        if let Some(files) = at(&KINDS, &self.files, kind) {
            files.increment(1);
        }
        if let Some(bytes) = at(&KINDS, &self.bytes, kind) {
            bytes.increment(len);
        }
    }

    fn record(&self, labels: ResponseLabels, record: impl Fn(&Histograms)) {
        let known = self.histograms.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(histograms) = known.get(&labels) {
            return record(histograms);
        }
        drop(known);
        let mut known = self.histograms.write().unwrap_or_else(PoisonError::into_inner);
        record(known.entry(labels).or_insert_with(|| Histograms::new(labels)));
    }
}

impl Histograms {
    fn new(response: ResponseLabels) -> Self {
        let mut labels = vec![Label::from_static_parts(LABEL_METHOD, response.method)];
        if let Some(status) = response.status {
            labels.push(Label::new(LABEL_STATUS, status.as_str().to_owned()));
        }
        let received = histogram!(REQUEST_SIZE, labels.clone());
        let sent = histogram!(RESPONSE_SIZE, labels.clone());
        if let Some(failure) = response.failure {
            labels.push(Label::from_static_parts(LABEL_ERROR, failure));
        }
        Self {
            duration: histogram!(REQUEST_DURATION, labels),
            received,
            sent,
        }
    }
}

/// Returns the label for `method`.
fn label(method: &Method) -> &'static str {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// Returns the element of `counts` at the position of `name` in `names`.
fn at<'a, N: Copy + PartialEq, C>(names: &[N], counts: &'a [C], name: N) -> Option<&'a C> {
    let index = names.iter().position(|other| *other == name)?;
    counts.get(index)
}
