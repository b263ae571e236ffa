use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};

use crate::{error::Error, outcome::Outcome};

/// Is told what became of each request. A closure over [`&Event`](Event) is one.
///
/// It is called where the request is served, so it must not block: hand long work to a task or a channel.
pub trait Events: Send + Sync + 'static {
    /// A request is over.
    fn finished(&self, event: &Event<'_>);
}

impl<F> Events for F
where
    F: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn finished(&self, event: &Event<'_>) {
        self(event);
    }
}

/// What became of one request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// The request's path as it came to the layer, without the query.
    pub path: &'a str,
    /// The status of the answer; none if the client left, or the service failed, before there was one.
    pub status: Option<StatusCode>,
    /// What the request came to, if the answer is one of this crate.
    pub outcome: Option<&'a Outcome>,
    /// From the request's head to the end of the answer.
    pub elapsed: Duration,
    /// Bytes of the answer's body that were taken.
    pub bytes_out: u64,
    /// How it ended.
    pub end: End,
    /// What the answer's body ended with, if it failed midway.
    pub error: Option<&'a Error>,
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
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) begun: Instant,
    pub(super) status: Option<StatusCode>,
    pub(super) outcome: Option<Outcome>,
    pub(super) bytes_out: u64,
    pub(super) end: End,
    pub(super) error: Option<Error>,
}

impl Drop for Record {
    fn drop(&mut self) {
        self.events.finished(&Event {
            method: &self.method,
            path: &self.path,
            status: self.status,
            outcome: self.outcome.as_ref(),
            elapsed: self.begun.elapsed(),
            bytes_out: self.bytes_out,
            end: self.end,
            error: self.error.as_ref(),
        });
    }
}
