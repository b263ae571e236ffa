//! [`describe`]: describes the metrics to the recorder.

use metrics::counter;

use crate::{
    database::Cause,
    event::EventKind,
    measure::{
        names::{ALL, EVENTS_RECORDED, LABEL_CAUSE, LABEL_EVENT, LEDGER_ERRORS},
        near_quota, over_quota, retained, suspended,
    },
};

/// Describes all metrics of this crate to the recorder, and initializes the counters whose labels are known to 0.
///
/// Without the 0, Prometheus does not see the first error as an increase.
pub fn describe() {
    for metric in ALL {
        metric.describe();
    }
    for cause in Cause::ALL {
        counter!(LEDGER_ERRORS, LABEL_CAUSE => cause.as_str()).increment(0);
    }
    for kind in EventKind::ALL {
        counter!(EVENTS_RECORDED, LABEL_EVENT => kind.as_str()).increment(0);
    }
    retained(0, 0);
    suspended(false);
    near_quota(0);
    over_quota(0);
}
