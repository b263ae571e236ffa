use std::fmt;

use super::{End, Event, Events, Started};
use crate::{
    error::Error,
    kazoo_id::AttachmentKind,
    metrics::{Finished, RequestCounts, fetch_failed},
    outcome::Outcome,
};

/// Counts requests with the recorder that is installed when it is created; see the [module](crate::metrics).
///
/// The `kind` of a stored file is its [`AttachmentKind`], or `other`.
pub struct Metrics(RequestCounts);

impl Metrics {
    /// Uses the recorder that is currently installed.
    #[must_use]
    pub fn new() -> Self {
        Self(RequestCounts::new())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Events for Metrics {
    fn started(&self, request: &Started<'_>) {
        self.0.started(request.method);
    }

    fn finished(&self, event: &Event<'_>) {
        let response_error = match event.outcome {
            Some(Outcome::Failed { error }) => Some(error.kind()),
            Some(Outcome::Stored { key, len, metadata, .. }) => {
                let kind = AttachmentKind::of(key, metadata.as_ref());
                self.0.stored(kind.map_or("other", AttachmentKind::as_str), *len);
                None
            }
            Some(Outcome::Fetched { .. }) => {
                if let Some(error) = event.error {
                    fetch_failed(error.kind());
                }
                None
            }
            _ => None,
        };
        let kind = response_error.or(event.error.map(Error::kind));
        self.0.finished(&Finished {
            method: event.method,
            status: event.status,
            failure: match (kind, event.end) {
                (Some(kind), _) => Some(kind.as_str()),
                (None, End::Complete) => None,
                (None, End::Disconnected) => Some("client_disconnected"),
                (None, End::Failed) => Some("service_error"),
            },
            elapsed: event.elapsed,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
            response_error,
            probe: event.probe.then_some(matches!(event.outcome, Some(Outcome::Probed))),
        });
    }
}
