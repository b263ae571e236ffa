//! [`Failure`]: the reason why KAZOO could not store or fetch a file.

use std::{error::Error as StdError, fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use kazoo_storage::{Error, error::BoxError, settings::StorageUrl};

/// The kind of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// KAZOO sends nothing: the settings or the name of the file make no valid request.
    NotSent,
    /// The host has no address.
    Resolve,
    /// The connection was refused or timed out.
    Connect,
    /// The TLS handshake failed: an untrusted certificate, or a server without TLS.
    Tls,
    /// The connection ended before a response, or the response is not HTTP.
    Broken,
    /// The response body ended early. KAZOO on Erlang before 23 regards it as complete unless it was chunked.
    Truncated,
    /// The response body is longer than the client's limit. KAZOO itself has no limit.
    TooLong,
    /// No response arrived within the client's timeout. KAZOO itself waits indefinitely.
    TimedOut,
    /// The server kept answering 503 with `Retry-After` for longer than the client's timeout. KAZOO itself retries indefinitely.
    Waiting,
    /// The response has an error status that KAZOO reports.
    Refused,
    /// A redirect that KAZOO does not follow: without a valid `Location`, or after too many others.
    Redirect,
    /// The response has a status on which KAZOO crashes: a success other than 200 for a fetch, an unsupported redirect, or a
    /// status that KAZOO's client does not know.
    Crash,
}

/// The redirects and retries before the final response.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// The redirects that were followed.
    pub redirects: Vec<Redirect>,
    /// Total time waited because of `Retry-After`.
    pub waited: Duration,
}

/// One redirect that was followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redirect {
    /// The status of the redirect.
    pub status: StatusCode,
    /// The URL of the next request.
    pub to: StorageUrl,
    /// The method of the next request. A POST becomes a GET without a body.
    pub method: Method,
}

/// The reason why KAZOO could not store or fetch a file.
///
/// `Display` and `Debug` show only the status of the response.
pub struct Failure {
    pub(super) kind: FailureKind,
    pub(super) answer: Option<Box<Response<Bytes>>>,
    pub(super) history: History,
    pub(super) tried: Vec<SocketAddr>,
    pub(super) source: Option<BoxError>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind) -> Self {
        Self {
            kind,
            answer: None,
            history: History::default(),
            tried: Vec::new(),
            source: None,
        }
    }

    pub(super) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub(super) fn with_tried(mut self, tried: Vec<SocketAddr>) -> Self {
        self.tried = tried;
        self
    }

    pub(super) fn with_answer(mut self, answer: Response<Bytes>) -> Self {
        self.answer = Some(Box::new(answer));
        self
    }

    pub(super) fn with_history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// Returns the kind of failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the response, if there was one. If it is [truncated](FailureKind::Truncated) or
    /// [too long](FailureKind::TooLong), its body is incomplete.
    #[must_use]
    pub fn answer(&self) -> Option<&Response<Bytes>> {
        self.answer.as_deref()
    }

    /// Returns the addresses of the host if [no connection could be opened](FailureKind::Connect).
    #[must_use]
    pub fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// Returns the redirects and retries before the failure.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(FailureKind::NotSent).with_source(error)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failure")
            .field("kind", &self.kind)
            .field("status", &self.answer().map(Response::status))
            .field("history", &self.history)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            FailureKind::NotSent => "KAZOO sends nothing",
            FailureKind::Resolve => "the host has no address",
            FailureKind::Connect => "the connection failed",
            FailureKind::Tls => "the TLS handshake failed",
            FailureKind::Broken => "the connection ended without a response",
            FailureKind::Truncated => "the response is truncated",
            FailureKind::TooLong => "the response is too long",
            FailureKind::TimedOut => "the request timed out",
            FailureKind::Waiting => "the server keeps asking to retry",
            FailureKind::Refused => "the server returned an error",
            FailureKind::Redirect => "the server returned a redirect that KAZOO does not follow",
            FailureKind::Crash => "KAZOO crashes on the status of the response",
        };
        f.write_str(text)?;
        if let Some(answer) = &self.answer {
            write!(f, ": {}", answer.status())?;
        }
        Ok(())
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
