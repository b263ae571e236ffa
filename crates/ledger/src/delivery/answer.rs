//! [`Answer`]: the answer of a receiver to an event.

use std::time::Duration;

/// The end of an attempt to send an event.
#[derive(Debug)]
pub(super) enum Answer {
    /// The receiver has the event.
    Delivered,
    /// The receiver wants no more events.
    #[cfg_attr(not(feature = "webhooks"), expect(dead_code, reason = "only HTTP has this answer"))]
    Gone { error: String },
    /// The receiver works, but does not take this event.
    #[cfg_attr(not(feature = "amqp"), expect(dead_code, reason = "only AMQP has this answer"))]
    Rejected { error: String },
    Failed {
        error: String,
        /// The time for which the receiver wants no events.
        retry_after: Option<Duration>,
    },
}

impl Answer {
    pub(super) fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            error: error.into(),
            retry_after: None,
        }
    }

    /// Returns the answer of a receiver that has not answered within `limit`.
    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::failed(format!("no answer within {}", humantime::format_duration(limit)))
    }
}
