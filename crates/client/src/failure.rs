//! [`Failure`]: why a file is not stored, or not fetched, as KAZOO sees it.

use std::{error::Error as StdError, fmt, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use kazoo_storage::{Error, error::BoxError, settings::StorageUrl};

/// Why a file is not stored, or not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// KAZOO sends nothing: its settings, or the file's name, make no request.
    NotSent,
    /// The host has no address.
    Resolve,
    /// Nothing takes the connection.
    Connect,
    /// No TLS comes about: a certificate that is not trusted, or no TLS at all on the other side.
    Tls,
    /// The connection ended, or brought what is no HTTP, before there was an answer.
    Broken,
    /// The body of the answer ended before its length said so. KAZOO on Erlang before 23 takes what came for whole, unless it
    /// was chunked.
    Truncated,
    /// The body of the answer is longer than the caller allows. KAZOO itself goes on reading.
    TooLong,
    /// No answer came in the time that the caller allows. KAZOO itself waits for ever.
    TimedOut,
    /// The server asked to come again, again and again, for longer than the caller allows. KAZOO itself goes on.
    Waiting,
    /// An error status, which KAZOO reports.
    Refused,
    /// A redirect that KAZOO does not follow: without a `Location`, to one that is no URL, or one too many.
    Redirect,
    /// A status on which KAZOO crashes: of a fetch any success but 200, a redirect that it has no clause for, or one that its
    /// client has no name for.
    Crash,
}

/// What became of the requests on the way to an answer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Course {
    /// The redirects that were followed.
    pub redirects: Vec<Redirect>,
    /// How long it was waited because the server asked to come again.
    pub waited: Duration,
}

/// One redirect that was followed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Redirect {
    /// What was answered.
    pub status: StatusCode,
    /// Where to.
    pub to: StorageUrl,
    /// How: a POST becomes a GET without a body.
    pub method: Method,
}

/// Why a file is not stored, or not fetched, as KAZOO sees it.
///
/// `Display` and `Debug` show the status of the answer, and nothing else of it.
pub struct Failure {
    pub(super) kind: FailureKind,
    pub(super) answer: Option<Box<Response<Bytes>>>,
    pub(super) course: Course,
    pub(super) tried: Vec<SocketAddr>,
    pub(super) source: Option<BoxError>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind) -> Self {
        Self {
            kind,
            answer: None,
            course: Course::default(),
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

    pub(super) fn with_course(mut self, course: Course) -> Self {
        self.course = course;
        self
    }

    /// Why, in one word.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The answer, if there was one; of a [truncated](FailureKind::Truncated) one, and of one that is
    /// [too long](FailureKind::TooLong), what came of it.
    #[must_use]
    pub fn answer(&self) -> Option<&Response<Bytes>> {
        self.answer.as_deref()
    }

    /// The addresses that the host has here, if [none of them takes the connection](FailureKind::Connect).
    #[must_use]
    pub fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// What came before.
    #[must_use]
    pub fn course(&self) -> &Course {
        &self.course
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
            .field("course", &self.course)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.kind {
            FailureKind::NotSent => "KAZOO sends nothing",
            FailureKind::Resolve => "the host has no address",
            FailureKind::Connect => "nothing takes the connection",
            FailureKind::Tls => "no TLS comes about",
            FailureKind::Broken => "the connection ended without an answer",
            FailureKind::Truncated => "the answer's body is not whole",
            FailureKind::TooLong => "the answer is too long",
            FailureKind::TimedOut => "no answer came in time",
            FailureKind::Waiting => "the server asks to come again, without an end",
            FailureKind::Refused => "an error was answered",
            FailureKind::Redirect => "the answer is a redirect that KAZOO does not follow",
            FailureKind::Crash => "KAZOO crashes on the answer's status",
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
