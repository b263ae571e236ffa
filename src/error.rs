//! One opaque [`Error`] for the whole crate, and the one table from its [`ErrorKind`] to an HTTP status.

use std::{borrow::Cow, error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::StatusCode;

/// A boxed error of any origin.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How long KAZOO is asked to wait before it repeats a request that failed with
/// [`ErrorKind::Unavailable`].
///
/// KAZOO's HTTP client obeys a `Retry-After` of one or two digits by itself and sends the same request again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What went wrong, in one word; decides the status of the answer.
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
/// KAZOO's client crashes on a status it does not know; every one in this table is on its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request names no key, or one that breaks a rule of [`BlobKey`](crate::BlobKey).
    InvalidKey,
    /// The request breaks a rule of HTTP or of this service.
    InvalidRequest,
    /// The body is not the multipart body that its `content-type` promises.
    InvalidMultipart,
    /// The JSON part of a multipart body is not a JSON object.
    InvalidMetadata,
    /// The body was recognised or declared as base64 and is not.
    InvalidBase64,
    /// The credentials probe carries another text than its name implies.
    InvalidProbe,
    /// A header with a digest of the body is malformed, or names no known algorithm.
    InvalidDigest,
    /// The body does not match the digest in its headers.
    DigestMismatch,
    /// The body ended early or its framing is broken.
    IncompleteBody,
    /// The request carries no credential that is known.
    Unauthorized,
    /// Whoever asks may not do this.
    Forbidden,
    /// Nothing is stored under the key.
    NotFound,
    /// The method is none of GET, HEAD, PUT and POST.
    MethodNotAllowed,
    /// The client took longer to send the request than it may.
    Timeout,
    /// Something that the store did not put there is in the place of the file.
    Conflict,
    /// A condition in the request's headers does not hold.
    PreconditionFailed,
    /// The body, or one of its parts, is over its limit.
    TooLarge,
    /// The body, or a part of it, has an unsupported encoding.
    UnsupportedEncoding,
    /// No byte of the requested range exists.
    RangeNotSatisfiable,
    /// The stored file is not what was uploaded any more.
    Damaged,
    /// A defect: of this crate, of a store, or of the host application.
    Internal,
    /// The store cannot be reached or cannot work just now; the same request may succeed later.
    Unavailable,
    /// The store has no room left.
    StorageFull,
}

impl ErrorKind {
    /// Every one.
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

    /// The status this kind is answered with.
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

    /// The kind as it stands in the `error` field of an answer, such as `not_found`.
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

/// What went wrong: a [kind](ErrorKind), a message for the person who reads it, and the cause.
///
/// The message is shown to the administrator of KAZOO, so it says what is wrong, where, and what to do; it
/// never holds a caller's name or number. The cause stays with the operator: it is the
/// [`source`](StdError::source), and is never part of an answer.
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
    /// An error of `kind`; `message` says what, where and what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            source: None,
            retry_after: (kind == ErrorKind::Unavailable).then_some(RETRY_AFTER),
        }))
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::from(source.into()));
        self
    }

    /// The same error, asking the client to repeat the request after `delay`, or not at all.
    ///
    /// KAZOO's client obeys 1 to 99 seconds on a 503; anything else is a plain error to it, so `delay` is
    /// brought into that range.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        Arc::make_mut(&mut self.0).retry_after = delay.map(|delay| Duration::from_secs(delay.as_secs().clamp(1, 99)));
        self
    }

    /// The error a body ended with: this crate's own if it is one, otherwise
    /// [`IncompleteBody`](ErrorKind::IncompleteBody).
    pub fn from_body(error: impl Into<BoxError>) -> Self {
        let error = match error.into().downcast::<Self>() {
            Ok(own) => return *own,
            Err(error) => error,
        };
        // A layer in front of ours may have wrapped an error of ours, or be http-body-util's own limit.
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&*error);
        while let Some(err) = cause {
            if let Some(own) = err.downcast_ref::<Self>() {
                return own.clone();
            }
            if err.is::<http_body_util::LengthLimitError>() {
                return Self::new(
                    ErrorKind::TooLarge,
                    "the body is over the limit of a layer in front of the storage service",
                )
                .with_source(error);
            }
            // `io::Error` shows the source of what it wraps, and not what it wraps, as its own source.
            let wrapped = err.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = wrapped.map_or_else(|| err.source(), |wrapped| Some(wrapped as _));
        }
        Self::new(
            ErrorKind::IncompleteBody,
            "the request's body ended early or its framing is broken; nothing was stored",
        )
        .with_source(error)
    }

    /// What went wrong, in one word.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The status this error is answered with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// What, where and what to do, as the answer says it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// After how long the client is asked to send the same request again, if it is.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether nothing is stored under the key.
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

    /// The error statuses that KAZOO's client has a name for; it crashes on any other. See `docs/how-kazoo-stores.md`.
    fn kazoo_knows(status: u16) -> bool {
        matches!(status, 400..=418 | 421..=424 | 426 | 428 | 429 | 431 | 444 | 451 | 500..=508 | 510 | 511)
    }

    #[test]
    fn every_kind_has_a_status_that_kazoo_survives() {
        for kind in ErrorKind::ALL {
            assert!(kazoo_knows(kind.status().as_u16()), "{kind} → {}", kind.status());
        }
    }

    #[test]
    fn every_kind_is_explained_to_who_meets_it() {
        let page = include_str!("../docs/troubleshooting.md");
        let table = page.split("## Error reference").nth(1).unwrap();
        for kind in ErrorKind::ALL {
            let named = format!("{} `{kind}`", kind.status().as_u16());
            assert!(table.contains(&named), "{named}");
        }
    }

    #[test]
    fn a_wrapped_error_of_ours_is_found_again() {
        let inner = Error::new(ErrorKind::InvalidBase64, "bad byte at offset 7");
        let wrapped = std::io::Error::other(inner);
        let found = Error::from_body(wrapped);
        assert_eq!(found.kind(), ErrorKind::InvalidBase64);
        assert_eq!(found.message(), "bad byte at offset 7");
    }

    #[test]
    fn only_what_passes_by_itself_asks_for_a_retry() {
        assert_eq!(Error::new(ErrorKind::StorageFull, "full").retry_after(), None);
        let down = Error::new(ErrorKind::Unavailable, "down");
        assert_eq!(down.retry_after(), Some(RETRY_AFTER));
        let long = down.clone().with_retry_after(Some(Duration::from_secs(3600)));
        assert_eq!(long.retry_after(), Some(Duration::from_secs(99)));
        assert_eq!(down.with_retry_after(None).retry_after(), None);
    }
}
