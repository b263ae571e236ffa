use std::fmt;

use super::{Begun, End, Event, Events, kind};
use crate::{
    error::Error,
    metrics::{Finished, RequestCounts, fetch_broke_off},
    outcome::Outcome,
};

/// Counts requests, by the recorder that is installed when it is made; see the [module](crate::metrics).
///
/// What a stored file is, its `kind`, the metadata of a multipart upload says in its `source_type`. Without that, it is
/// told by the name that KAZOO gives to files of its own: `call_recording_….mp3` is a recording, `received_file_….tiff`,
/// `fax_file.tiff`, `pdf_file.pdf` and `original_file.…` are a fax's, and 32 hexadecimal digits before `.mp3` or `.wav` are
/// voicemail. All else, as greetings and music on hold, is `other`.
pub struct Metrics(RequestCounts);

impl Metrics {
    /// Counts by the recorder that is installed now.
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
    fn begun(&self, request: &Begun<'_>) {
        self.0.begun(request.method);
    }

    fn finished(&self, event: &Event<'_>) {
        let refused = match event.outcome {
            Some(Outcome::Failed { error }) => Some(error.kind()),
            Some(Outcome::Stored { key, len, metadata, .. }) => {
                self.0.stored(kind::of(key, metadata.as_ref()), *len);
                None
            }
            Some(Outcome::Fetched { .. }) => {
                if let Some(error) = event.error {
                    fetch_broke_off(error.kind());
                }
                None
            }
            _ => None,
        };
        let kind = refused.or(event.error.map(Error::kind));
        self.0.finished(&Finished {
            method: event.method,
            status: event.status,
            failure: match (kind, event.end) {
                (Some(kind), _) => Some(kind.as_str()),
                (None, End::Whole) => None,
                (None, End::Dropped) => Some("client_left"),
                (None, End::Failed) => Some("failed"),
            },
            elapsed: event.elapsed,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
            refused,
            probe: event.probe.then_some(matches!(event.outcome, Some(Outcome::Probed))),
        });
    }
}
