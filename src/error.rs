//! [`Error`], the error type of this crate, and [`ErrorKind`], which determines the status of the response.

mod from_io;

use std::{borrow::Cow, error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::StatusCode;

/// A boxed error of any origin.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The `Retry-After` of an [`ErrorKind::Unavailable`].
///
/// KAZOO's HTTP client honors a value of one or two digits and retries the request.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The kind of an [`Error`], which determines the status of the response.
///
/// | kind | status |
/// | --- | --- |
/// | [`InvalidKey`](Self::InvalidKey), [`InvalidRequest`](Self::InvalidRequest), [`InvalidMultipart`](Self::InvalidMultipart), [`InvalidMetadata`](Self::InvalidMetadata), [`InvalidBase64`](Self::InvalidBase64), [`InvalidProbe`](Self::InvalidProbe), [`InvalidDigest`](Self::InvalidDigest), [`DigestMismatch`](Self::DigestMismatch), [`IncompleteBody`](Self::IncompleteBody) | 400 |
/// | [`Unauthorized`](Self::Unauthorized) | 401 with `WWW-Authenticate: Basic` |
/// | [`Forbidden`](Self::Forbidden) | 403 |
/// | [`NotFound`](Self::NotFound) | 404 |
/// | [`MethodNotAllowed`](Self::MethodNotAllowed) | 405 |
/// | [`Timeout`](Self::Timeout) | 408 |
/// | [`Conflict`](Self::Conflict) | 409 |
/// | [`PreconditionFailed`](Self::PreconditionFailed) | 412 |
/// | [`TooLarge`](Self::TooLarge) | 413 |
/// | [`UnsupportedEncoding`](Self::UnsupportedEncoding) | 415 |
/// | [`RangeNotSatisfiable`](Self::RangeNotSatisfiable) | 416 |
/// | [`Damaged`](Self::Damaged), [`Internal`](Self::Internal) | 500 |
/// | [`Unavailable`](Self::Unavailable) | 503 with `Retry-After` |
/// | [`StorageFull`](Self::StorageFull) | 507 |
///
/// KAZOO's client crashes on an unknown status; it knows every status in this table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request has no key, or one that violates a rule of [`BlobKey`](crate::BlobKey).
    InvalidKey,
    /// The request violates a rule of HTTP or of this service.
    InvalidRequest,
    /// The body is not a valid multipart body, although its `content-type` declares one.
    InvalidMultipart,
    /// The JSON part of a multipart body is not a JSON object.
    InvalidMetadata,
    /// The body was detected or declared as base64 and is not valid base64.
    InvalidBase64,
    /// The credentials probe does not have the content its name implies.
    InvalidProbe,
    /// A header with a digest of the body is malformed, or has no supported algorithm.
    InvalidDigest,
    /// The body does not match the digest in its headers.
    DigestMismatch,
    /// The body ended early or its framing is broken.
    IncompleteBody,
    /// The request has no valid credential.
    Unauthorized,
    /// The credential does not permit the request.
    Forbidden,
    /// Nothing is stored under the key.
    NotFound,
    /// The method is none of GET, HEAD, PUT and POST.
    MethodNotAllowed,
    /// The client took too long to send the request.
    Timeout,
    /// A file, directory or link that the store did not create is at the path of the file, or another store has the
    /// root open.
    Conflict,
    /// A condition in the request's headers does not hold.
    PreconditionFailed,
    /// The body or one of its parts exceeds its limit.
    TooLarge,
    /// The body, or a part of it, has an unsupported encoding.
    UnsupportedEncoding,
    /// No byte of the requested range exists.
    RangeNotSatisfiable,
    /// The stored file differs from the uploaded one.
    Damaged,
    /// A defect in this crate, in a store, or in the application.
    Internal,
    /// The store is temporarily unavailable; the same request may succeed later.
    Unavailable,
    /// The store is full.
    StorageFull,
}

impl ErrorKind {
    /// All kinds.
    #[cfg(any(test, feature = "metrics"))]
    pub(crate) const ALL: [Self; 23] = [
        Self::InvalidKey,
        Self::InvalidRequest,
        Self::InvalidMultipart,
        Self::InvalidMetadata,
        Self::InvalidBase64,
        Self::InvalidProbe,
        Self::InvalidDigest,
        Self::DigestMismatch,
        Self::IncompleteBody,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::TooLarge,
        Self::UnsupportedEncoding,
        Self::RangeNotSatisfiable,
        Self::Damaged,
        Self::Internal,
        Self::Unavailable,
        Self::StorageFull,
    ];

    /// Returns the status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidKey
            | Self::InvalidRequest
            | Self::InvalidMultipart
            | Self::InvalidMetadata
            | Self::InvalidBase64
            | Self::InvalidProbe
            | Self::InvalidDigest
            | Self::DigestMismatch
            | Self::IncompleteBody => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Damaged | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        }
    }

    /// Returns the name of the kind in the `error` field of a response, such as `not_found`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidKey => "invalid_key",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidMultipart => "invalid_multipart",
            Self::InvalidMetadata => "invalid_metadata",
            Self::InvalidBase64 => "invalid_base64",
            Self::InvalidProbe => "invalid_probe",
            Self::InvalidDigest => "invalid_digest",
            Self::DigestMismatch => "digest_mismatch",
            Self::IncompleteBody => "incomplete_body",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition_failed",
            Self::TooLarge => "too_large",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::Damaged => "damaged",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::StorageFull => "storage_full",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error: its [kind](ErrorKind), a message, and the cause.
///
/// The message is part of the response. It tells KAZOO's administrator what happened, where, and what to do, and never
/// contains a caller's name or number. The cause is the [`source`](StdError::source). It is for the operator, and never
/// part of a response.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    retry_after: Option<Duration>,
}

impl Error {
    /// Creates an error. `message` says what happened, where, and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            source: None,
            retry_after: (kind == ErrorKind::Unavailable).then_some(RETRY_AFTER),
        }))
    }

    /// Sets the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
        self
    }

    /// Sets the delay after which the client is asked to retry; with `None`, it is not asked. The
    /// default is 5 seconds for [`ErrorKind::Unavailable`], and `None` for others.
    ///
    /// KAZOO's client retries after 1 to 99 seconds on a 503, so `delay` is clamped to that range.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.0).retry_after = delay.map(|delay| Duration::from_secs(delay.as_secs().clamp(1, 99)));
        self
    }

    /// Converts the error of a body. Returns the [`Error`] in its chain of causes, if there is one; any other error is
    /// [`IncompleteBody`](ErrorKind::IncompleteBody).
    pub fn from_body(error: impl Into<BoxError>) -> Self {
        Self::in_chain(error.into()).unwrap_or_else(|error| {
            Self::new(
                ErrorKind::IncompleteBody,
                "the request body ended early, or its framing is broken: send it again",
            )
            .with_source(error)
        })
    }

    /// Returns the error of this crate in the chain of causes of `error`, or the one for a limit of http-body-util.
    ///
    /// An outer layer, or a reader of a body, may have wrapped it.
    fn in_chain(error: BoxError) -> Result<Self, BoxError> {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(err) = cause {
            if let Some(own) = err.downcast_ref::<Self>() {
                return Ok(own.clone());
            }
            if err.is::<http_body_util::LengthLimitError>() {
                let message = "the body exceeds the limit of a layer in front of the storage service";
                return Ok(Self::new(ErrorKind::TooLarge, message).with_source(error));
            }
            // The source of an `io::Error` is the source of the wrapped error, not the wrapped error.
            let wrapped = err.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = wrapped.map_or_else(|| err.source(), |wrapped| Some(wrapped as _));
        }
        Err(error)
    }

    /// Returns the kind of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// Returns the message of the response.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Returns the delay after which the client is asked to retry, if it is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns `true` if nothing is stored under the key.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_struct("Error");
        tuple.field("kind", &self.0.kind).field("message", &self.0.message);
        if let Some(source) = &self.0.source {
            tuple.field("source", source);
        }
        tuple.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns `true` if KAZOO's client has a name for the status. Any other status crashes it.
    fn kazoo_knows(status: u16) -> bool {
        matches!(status, 400..=418 | 421..=424 | 426 | 428 | 429 | 431 | 444 | 451 | 500..=508 | 510 | 511)
    }

    #[test]
    fn kazoo_knows_the_status_of_every_kind() {
        for kind in ErrorKind::ALL {
            assert!(kazoo_knows(kind.status().as_u16()), "{kind} → {}", kind.status());
        }
    }

    #[test]
    fn documents_every_kind() {
        let page = include_str!("../docs/troubleshooting.md");
        let table = page.split("## Error reference").nth(1).unwrap();
        for kind in ErrorKind::ALL {
            let named = format!("{} `{kind}`", kind.status().as_u16());
            assert!(table.contains(&named), "{named}");
        }
    }

    #[test]
    fn finds_a_wrapped_error() {
        let inner = Error::new(ErrorKind::InvalidBase64, "bad byte at offset 7");
        let wrapped = std::io::Error::other(inner);
        let found = Error::from_body(wrapped);
        assert_eq!(found.kind(), ErrorKind::InvalidBase64);
        assert_eq!(found.message(), "bad byte at offset 7");
    }

    #[test]
    fn only_temporary_errors_ask_for_a_retry() {
        assert_eq!(Error::new(ErrorKind::StorageFull, "full").retry_after(), None);
        let down = Error::new(ErrorKind::Unavailable, "down");
        assert_eq!(down.retry_after(), Some(RETRY_AFTER));
        let long = down.clone().with_retry_after(Some(Duration::from_secs(3600)));
        assert_eq!(long.retry_after(), Some(Duration::from_secs(99)));
        assert_eq!(down.with_retry_after(None).retry_after(), None);
    }
}
