use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use super::{counted::BytesIn, request_id::RequestId};
use crate::{error::Error, outcome::Outcome};

/// Is told what became of each request. A closure over [`&Event`](Event) is one, and so are two of them as a pair.
///
/// It is called where the request is served, so it must not block: hand long work to a task or a channel.
pub trait Events: Send + Sync + 'static {
    /// A request is over.
    fn finished(&self, event: &Event<'_>);

    /// A request has begun; [`finished`](Self::finished) follows, whatever becomes of it.
    fn begun(&self, request: &Begun<'_>) {
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

    fn begun(&self, request: &Begun<'_>) {
        self.0.begun(request);
        self.1.begun(request);
    }
}

/// A request whose head has come.
///
/// `Debug` does not show the path, because it may contain a token.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Begun<'a> {
    /// What tells it from other requests; see [`Event::request_id`].
    pub request_id: &'a str,
    /// Its method.
    pub method: &'a Method,
    /// Its path as it came to the layer, without the query.
    pub path: &'a str,
}

impl fmt::Debug for Begun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Begun")
            .field("request_id", &self.request_id)
            .field("method", self.method)
            .finish_non_exhaustive()
    }
}

/// What became of one request.
///
/// `Debug` does not show the path, because it may contain a token.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What tells this request from others: its `x-request-id` if that is 1 to 64 ASCII letters, digits, `-`, `_` and `.`,
    /// and otherwise 16 hexadecimal digits made up for it.
    pub request_id: &'a str,
    /// The request's method.
    pub method: &'a Method,
    /// The request's path as it came to the layer, without the query.
    pub path: &'a str,
    /// Whether the target names KAZOO's credentials probe, whatever it was answered.
    pub probe: bool,
    /// The status of the answer; none if the client left, or the service failed, before there was one.
    pub status: Option<StatusCode>,
    /// What the request came to, if the answer is one of this crate.
    pub outcome: Option<&'a Outcome>,
    /// From the request's head to the end of the answer.
    pub elapsed: Duration,
    /// Bytes of the request's body that were read, multipart and base64 included.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were taken.
    pub bytes_out: u64,
    /// How it ended.
    pub end: End,
    /// What the answer's body ended with, if it failed midway.
    pub error: Option<&'a Error>,
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("request_id", &self.request_id)
            .field("method", self.method)
            .field("probe", &self.probe)
            .field("status", &self.status)
            .field("outcome", &self.outcome)
            .field("elapsed", &self.elapsed)
            .field("bytes_in", &self.bytes_in)
            .field("bytes_out", &self.bytes_out)
            .field("end", &self.end)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The whole answer was taken.
    Whole,
    /// The answer's body, or the service itself, failed midway.
    Failed,
    /// The client left before the end.
    Dropped,
}

/// Collects what becomes of a request, and tells about it when it is dropped: the request is over then, whichever way.
pub(super) struct Record {
    pub(super) events: Arc<dyn Events>,
    pub(super) request_id: RequestId,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) probe: bool,
    pub(super) begun: Instant,
    pub(super) status: Option<StatusCode>,
    pub(super) outcome: Option<Outcome>,
    pub(super) bytes_in: BytesIn,
    pub(super) bytes_out: u64,
    pub(super) end: End,
    pub(super) error: Option<Error>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.events.finished(&Event {
            request_id: self.request_id.as_str(),
            method: &self.method,
            path: &self.path,
            probe: self.probe,
            status: self.status,
            outcome: self.outcome.as_ref(),
            elapsed: self.begun.elapsed(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out,
            end: self.end,
            error: self.error.as_ref(),
        });
    }
}
