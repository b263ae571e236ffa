//! [`DeliveryCounts`]: the metrics of the deliveries to one receiver.

use std::{fmt, time::Duration};

use metrics::{Counter, Histogram, counter, histogram};

use super::names::{DELIVERY_ATTEMPTS, DELIVERY_DURATION, LABEL_OUTCOME, LABEL_RECEIVER};

/// The metrics of the deliveries to one receiver. They are looked up once, and exist from then on.
pub(crate) struct DeliveryCounts {
    delivered: Counter,
    failed: Counter,
    dead: Counter,
    gone: Counter,
    duration: Histogram,
}

impl DeliveryCounts {
    /// Creates the metrics of `receiver`, by its name in the ledger.
    pub(crate) fn new(receiver: &str) -> Self {
        let attempts = |outcome: &'static str| {
            let counter = counter!(DELIVERY_ATTEMPTS, LABEL_RECEIVER => receiver.to_owned(), LABEL_OUTCOME => outcome);
            counter.increment(0);
            counter
        };
        Self {
            delivered: attempts("delivered"),
            failed: attempts("failed"),
            dead: attempts("dead"),
            gone: attempts("gone"),
            duration: histogram!(DELIVERY_DURATION, LABEL_RECEIVER => receiver.to_owned()),
        }
    }

    /// Records the time until the answer of the receiver.
    pub(crate) fn answered(&self, elapsed: Duration) {
        self.duration.record(elapsed);
    }

    /// Records that the receiver has the event.
    pub(crate) fn delivered(&self) {
        self.delivered.increment(1);
    }

    /// Records that the event is sent again later.
    pub(crate) fn failed(&self) {
        self.failed.increment(1);
    }

    /// Records that the event is not sent again.
    pub(crate) fn dead(&self) {
        self.dead.increment(1);
    }

    /// Records that the receiver wants no more events.
    pub(crate) fn gone(&self) {
        self.gone.increment(1);
    }
}

impl fmt::Debug for DeliveryCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliveryCounts").finish_non_exhaustive()
    }
}
