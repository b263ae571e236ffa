use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use super::{bytes_in::BytesIn, request_id::RequestId};
use crate::{error::Error, grant::Grant, outcome::Outcome};

/// Receives an [`Event`] for each request.
///
/// Closures over [`&Event`](Event) implement it, and so do pairs of implementations. It is called on the task that
/// serves the request, so it must not block: hand long work to another task, through an unbounded channel. A bounded
/// channel that is full would lose the event or block the task.
pub trait Events: Send + Sync + 'static {
    /// Called when a request ends.
    fn finished(&self, event: &Event<'_>);

    /// Called when a request starts. A call of [`finished`](Self::finished) always follows.
    fn started(&self, request: &Started<'_>) {
        let _ = request;
    }
}

impl<F> Events for F
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn finished(&self, event: &Event<'_>) {
        self(event);
    }
}

impl<A: Events, B: Events> Events for (A, B) {
    fn finished(&self, event: &Event<'_>) {
        self.0.finished(event);
        self.1.finished(event);
    }

    fn started(&self, request: &Started<'_>) {
        self.0.started(request);
        self.1.started(request);
    }
}

/// A request whose head was received.
///
/// `Debug` does not show the path, because it may contain a token.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Started<'a> {
    /// Identifier of the request; see [`Event::request_id`].
    pub request_id: &'a str,
    /// Request method.
    pub method: &'a Method,
    /// Path as the layer received it, without the query.
    pub path: &'a str,
}

impl fmt::Debug for Started<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started")
            .field("request_id", &self.request_id)
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

/// A finished request.
///
/// `Debug` does not show the path, because it may contain a token.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Identifier of the request: its `x-request-id` if that consists of 1 to 64 ASCII letters, digits, `-`, `_` and
    /// `.`, otherwise 16 generated hexadecimal digits.
    pub request_id: &'a str,
    /// Request method.
    pub method: &'a Method,
    /// Path as the layer received it, without the query.
    pub path: &'a str,
    /// `true` if the target names KAZOO's credentials probe, whatever the response.
    pub probe: bool,
    /// Status of the response; `None` if the client disconnected or the service failed before the response.
    pub status: Option<StatusCode>,
    /// Name of the credential, if the request was authorized and its [`Grant`] has a name.
    pub credential: Option<&'a str>,
    /// Outcome of the request, if this crate answered it.
    pub outcome: Option<&'a Outcome>,
    /// Time from the request head to the end of the response.
    pub elapsed: Duration,
    /// Bytes read from the request body, before multipart and base64 decoding.
    pub bytes_in: u64,
    /// Bytes sent of the response body.
    pub bytes_out: u64,
    /// End of the response.
    pub end: End,
    /// Error that the response body ended with.
    pub error: Option<&'a Error>,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("request_id", &self.request_id)
            .field("method", self.method)
            .field("probe", &self.probe)
            .field("status", &self.status)
            .field("credential", &self.credential)
            .field("outcome", &self.outcome)
            .field("elapsed", &self.elapsed)
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .field("end", &self.end)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The complete response was sent.
    Complete,
    /// The response body or the service failed.
    Failed,
    /// The client disconnected before the end of the response.
    Disconnected,
}

/// Collects the event of a request, and reports it when dropped: however a request ends, its record is dropped.
pub struct Record {
    pub(super) events: Arc<dyn Events>,
    pub(super) request_id: RequestId,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) probe: bool,
    pub(super) started: Instant,
    pub(super) status: Option<StatusCode>,
    pub(super) grant: Option<Grant>,
    pub(super) outcome: Option<Outcome>,
    pub(super) bytes_in: BytesIn,
    pub(super) bytes_out: u64,
    pub(super) end: End,
    pub(super) error: Option<Error>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").finish_non_exhaustive()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.events.finished(&Event {
            request_id: self.request_id.as_str(),
            method: &self.method,
            path: &self.path,
            probe: self.probe,
            status: self.status,
            credential: self.grant.as_ref().and_then(Grant::name),
            outcome: self.outcome.as_ref(),
            elapsed: self.started.elapsed(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out,
            end: self.end,
            error: self.error.as_ref(),
        });
    }
}
