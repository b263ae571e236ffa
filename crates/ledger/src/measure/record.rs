//! Records the metrics.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::names::{
    COMMIT_DURATION, COMMIT_WRITES, EVENTS_RECORDED, LABEL_CAUSE, LABEL_EVENT, LEDGER_ERRORS, QUOTA_NEAR,
    QUOTA_REFUSALS, RETENTION_FAILURES, RETENTION_REMOVED, RETENTION_SUSPENDED,
};
use crate::event::EventKind;

/// Records that the change of a file became durable after `elapsed`.
pub(crate) fn changed(elapsed: Duration) {
    histogram!(COMMIT_DURATION).record(elapsed);
}

/// Records a commit of as many writes.
// A commit has a few hundred of them.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn committed(writes: usize) {
    histogram!(COMMIT_WRITES).record(writes as f64);
}

/// Records that the ledger failed, from this cause.
pub(crate) fn failed(cause: &'static str) {
    counter!(LEDGER_ERRORS, LABEL_CAUSE => cause).increment(1);
}

/// Records that an event was recorded.
pub(crate) fn recorded(kind: EventKind) {
    counter!(EVENTS_RECORDED, LABEL_EVENT => kind.as_str()).increment(1);
}

/// Records whether retention is suspended.
pub(crate) fn suspended(is_suspended: bool) {
    gauge!(RETENTION_SUSPENDED).set(f64::from(u8::from(is_suspended)));
}

/// Records files that retention has removed, and those that it could not remove.
pub(crate) fn retained(removed: u64, failed: u64) {
    counter!(RETENTION_REMOVED).increment(removed);
    counter!(RETENTION_FAILURES).increment(failed);
}

/// Records the number of accounts that use at least 80 % of their quota.
// No number of accounts exceeds 2^53.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn near_quota(accounts: usize) {
    gauge!(QUOTA_NEAR).set(accounts as f64);
}

/// Records uploads that a quota has refused.
pub(crate) fn over_quota(uploads: u64) {
    counter!(QUOTA_REFUSALS).increment(uploads);
}
