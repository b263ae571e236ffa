//! What requests are counted in.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use http::{Method, StatusCode};
use metrics::{Counter, Gauge, Histogram, Label, counter, gauge, histogram};

use super::names::{
    ACTIVE_REQUESTS, LABEL_ERROR, LABEL_KIND, LABEL_METHOD, LABEL_OUTCOME, LABEL_STATUS, PROBES, REFUSALS,
    REQUEST_DURATION, REQUEST_SIZE, RESPONSE_SIZE, STORED_FILES, STORED_SIZE,
};
use crate::error::ErrorKind;

/// Those that are told apart; the last stands for what a client makes up.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "_OTHER",
];
const KINDS: [&str; 4] = ["voicemail", "call_recording", "fax", "other"];

/// The numbers of requests, by the recorder that is there when they are looked up: once, as that costs more than to count.
pub(crate) struct RequestCounts {
    active: [Gauge; METHODS.len()],
    files: [Counter; KINDS.len()],
    bytes: [Counter; KINDS.len()],
    refusals: [Counter; ErrorKind::ALL.len()],
    answered: Counter,
    failed: Counter,
    answers: RwLock<HashMap<Answer, Histograms>>,
}

/// What tells one kind of answer from another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Answer {
    method: &'static str,
    status: Option<StatusCode>,
    failure: Option<&'static str>,
}

struct Histograms {
    duration: Histogram,
    received: Histogram,
    sent: Histogram,
}

/// A request that is over.
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

impl RequestCounts {
    pub(crate) fn new() -> Self {
        Self {
            active: METHODS.map(|method| gauge!(ACTIVE_REQUESTS, LABEL_METHOD => method)),
            files: KINDS.map(|kind| counter!(STORED_FILES, LABEL_KIND => kind)),
            bytes: KINDS.map(|kind| counter!(STORED_SIZE, LABEL_KIND => kind)),
            refusals: ErrorKind::ALL.map(|kind| counter!(REFUSALS, LABEL_ERROR => kind.as_str())),
            answered: counter!(PROBES, LABEL_OUTCOME => "answered"),
            failed: counter!(PROBES, LABEL_OUTCOME => "failed"),
            answers: RwLock::default(),
        }
    }

    pub(crate) fn begun(&self, method: &Method) {
        if let Some(active) = of(&METHODS, &self.active, label(method)) {
            active.increment(1);
        }
    }

    // A size beyond 2^53 is no size.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn finished(&self, request: &Finished<'_>) {
        let method = label(request.method);
        if let Some(active) = of(&METHODS, &self.active, method) {
            active.decrement(1);
        }
        let answer = Answer {
            method,
            status: request.status,
            failure: request.failure,
        };
        self.record(answer, |histograms| {
            histograms.duration.record(request.elapsed);
            histograms.received.record(request.bytes_in as f64);
            histograms.sent.record(request.bytes_out as f64);
        });
        if let Some(kind) = request.refused
            && let Some(refusals) = of(&ErrorKind::ALL, &self.refusals, kind)
        {
            refusals.increment(1);
        }
        match request.probe {
            Some(true) => self.answered.increment(1),
            Some(false) => self.failed.increment(1),
            None => {}
        }
    }

    pub(crate) fn stored(&self, kind: &'static str, len: u64) {
        if let Some(files) = of(&KINDS, &self.files, kind) {
            files.increment(1);
        }
        if let Some(bytes) = of(&KINDS, &self.bytes, kind) {
            bytes.increment(len);
        }
    }

    fn record(&self, answer: Answer, record: impl Fn(&Histograms)) {
        let known = self.answers.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(histograms) = known.get(&answer) {
            return record(histograms);
        }
        drop(known);
        let mut known = self.answers.write().unwrap_or_else(PoisonError::into_inner);
        record(known.entry(answer).or_insert_with(|| Histograms::of(answer)));
    }
}

impl Histograms {
    fn of(answer: Answer) -> Self {
        let mut labels = vec![Label::from_static_parts(LABEL_METHOD, answer.method)];
        if let Some(status) = answer.status {
            labels.push(Label::new(LABEL_STATUS, status.as_str().to_owned()));
        }
        let received = histogram!(REQUEST_SIZE, labels.clone());
        let sent = histogram!(RESPONSE_SIZE, labels.clone());
        if let Some(failure) = answer.failure {
            labels.push(Label::from_static_parts(LABEL_ERROR, failure));
        }
        Self {
            duration: histogram!(REQUEST_DURATION, labels),
            received,
            sent,
        }
    }
}

/// The method as a label.
fn label(method: &Method) -> &'static str {
    let known = METHODS.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("_OTHER")
}

/// The one of `counts` that stands where `name` stands among `names`.
fn of<'a, N: Copy + PartialEq, C>(names: &[N], counts: &'a [C], name: N) -> Option<&'a C> {
    let index = names.iter().position(|other| *other == name)?;
    counts.get(index)
}
