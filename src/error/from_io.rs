//! Converts errors of the operating system.

use std::io;

use super::{Error, ErrorKind};

impl ErrorKind {
    /// Returns the kind of an error that a store got from the operating system. [`io::ErrorKind::NotFound`] is
    /// [`Unavailable`](Self::Unavailable).
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::StorageFull,
            io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
                Self::Conflict
            }
            io::ErrorKind::InvalidFilename => Self::InvalidKey,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            // A failing device, a read-only file system, missing permissions, too many open files, a lost connection:
            // the operator can repair it, and KAZOO retries the upload meanwhile.
            _ => Self::Unavailable,
        }
    }
}

/// Converts an error that a store got from the operating system, and keeps it as the [source](std::error::Error::source).
///
/// | error | kind |
/// | --- | --- |
/// | one with an [`Error`] in its chain of causes, such as that of a body read with `StreamReader` | that of the [`Error`] |
/// | one with a limit of http-body-util in its chain | [`TooLarge`](ErrorKind::TooLarge) |
/// | `StorageFull`, `QuotaExceeded` | [`StorageFull`](ErrorKind::StorageFull) |
/// | `FileTooLarge` | [`TooLarge`](ErrorKind::TooLarge) |
/// | `InvalidFilename` | [`InvalidKey`](ErrorKind::InvalidKey) |
/// | `NotADirectory`, `IsADirectory`, `DirectoryNotEmpty` | [`Conflict`](ErrorKind::Conflict) |
/// | any other | [`Unavailable`](ErrorKind::Unavailable) |
///
/// `NotFound` is `Unavailable`, too: it may be the file that is missing, or the whole disk. A store that knows that
/// nothing is stored under the key returns [`ErrorKind::NotFound`] itself.
///
/// ```
/// use std::io;
///
/// use kazoo_storage::{Error, ErrorKind};
///
/// let full = Error::from(io::Error::from(io::ErrorKind::StorageFull));
/// assert_eq!(full.kind(), ErrorKind::StorageFull);
/// let missing = Error::from(io::Error::from(io::ErrorKind::NotFound));
/// assert_eq!(missing.kind(), ErrorKind::Unavailable);
/// ```
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let (kind, reason) = (ErrorKind::of_io(&error), error.kind());
        Self::in_chain(error.into()).unwrap_or_else(|error| {
            // The text of the error itself may contain a path of the machine.
            let message = match kind {
                ErrorKind::StorageFull => "the storage, or a quota on it, is full; free some space".into(),
                _ => format!("the storage failed: {reason}"),
            };
            Self::new(kind, message).with_source(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_missing_file_of_the_store_is_not_a_404() {
        let error = Error::from(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn keeps_an_own_error_in_an_io_error() {
        let own = Error::new(ErrorKind::Damaged, "damaged");
        let error = Error::from(io::Error::other(own));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Damaged, "damaged"));
    }

    /// An axum handler that reads a body as `AsyncRead` gets such errors: a 503 would ask KAZOO to send it again.
    #[tokio::test]
    async fn keeps_the_error_of_a_body_that_other_crates_have_wrapped() {
        let invalid = || {
            crate::Body::from_stream(futures_util::stream::iter([Err::<bytes::Bytes, _>(Error::new(
                ErrorKind::InvalidBase64,
                "bad byte",
            ))]))
        };
        let wrapped = axum::body::to_bytes(axum::body::Body::new(invalid()), usize::MAX)
            .await
            .unwrap_err();
        assert_eq!(Error::from(io::Error::other(wrapped)).kind(), ErrorKind::InvalidBase64);
        let limited = http_body_util::Limited::new(axum::body::Body::from("too long"), 3);
        let wrapped = http_body_util::BodyExt::collect(limited).await.unwrap_err();
        assert_eq!(Error::from(io::Error::other(wrapped)).kind(), ErrorKind::TooLarge);
    }

    #[test]
    fn keeps_the_text_of_the_cause_out_of_the_message() {
        let error = Error::from(io::Error::new(io::ErrorKind::PermissionDenied, "/srv/kazoo"));
        assert_eq!(error.message(), "the storage failed: permission denied");
        assert_eq!(error.source().unwrap().to_string(), "/srv/kazoo");
    }
}
