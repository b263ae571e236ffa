//! Converts errors of the operating system to [`Error`].

use std::io;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// Returns the error for `error`, which occurred when the store tried to perform `action`.
///
/// The message contains no path of the machine, because KAZOO shows it to its administrator.
pub(super) fn failed(action: &'static str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let kind = match error.kind() {
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        _ => ErrorKind::of_io(&error),
    };
    explained(kind, action, error)
}

/// Returns the error for `error`, which concerns the store's own files instead of a stored file.
pub(super) fn broken(action: &'static str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    explained(ErrorKind::of_io(&error), action, error)
}

fn explained(kind: ErrorKind, action: &'static str, error: io::Error) -> Error {
    let message = match kind {
        ErrorKind::StorageFull => "the storage's file system, or a quota on it, is full; free some space".into(),
        ErrorKind::NotFound => "no file is stored under this name".into(),
        ErrorKind::InvalidKey => {
            format!("a segment of the path is not a valid file name on the storage's file system: {error}")
        }
        ErrorKind::TooLarge => "the file is larger than the storage's file system or a process limit allows".into(),
        _ => match remedy(&error) {
            Some(remedy) => format!("the storage failed to {action}: {error}; {remedy}"),
            None => format!("the storage failed to {action}: {error}"),
        },
    };
    Error::new(kind, message).with_source(error)
}

/// Returns advice for the operator.
fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::IO => "see the kernel's log for errors of the disk",
        Errno::ROFS => "if it was not mounted read-only, see the kernel's log for the reason",
        Errno::MFILE => "raise the process's limit of open files",
        Errno::NFILE => "raise the system's limit of open files",
        Errno::ACCESS | Errno::PERM => "grant the permission to the server's user",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn maps_every_errno_to_a_kind() {
        for (errno, kind) in [
            (Errno::NOSPC, ErrorKind::StorageFull),
            (Errno::DQUOT, ErrorKind::StorageFull),
            (Errno::NOENT, ErrorKind::NotFound),
            (Errno::NOTDIR, ErrorKind::Conflict),
            (Errno::ISDIR, ErrorKind::Conflict),
            (Errno::NOTEMPTY, ErrorKind::Conflict),
            (Errno::NAMETOOLONG, ErrorKind::InvalidKey),
            (Errno::FBIG, ErrorKind::TooLarge),
            (Errno::IO, ErrorKind::Unavailable),
            (Errno::ROFS, ErrorKind::Unavailable),
            (Errno::ACCESS, ErrorKind::Unavailable),
            (Errno::PERM, ErrorKind::Unavailable),
            (Errno::MFILE, ErrorKind::Unavailable),
            (Errno::NFILE, ErrorKind::Unavailable),
            (Errno::STALE, ErrorKind::Unavailable),
            (Errno::XDEV, ErrorKind::Unavailable),
        ] {
            let error = failed("write", errno);
            assert_eq!(error.kind(), kind, "{errno:?}");
            assert!(error.source().is_some(), "{errno:?}");
            assert!(!error.message().is_empty(), "{errno:?}");
        }
    }

    #[test]
    fn tells_the_operator_how_to_repair() {
        for (errno, says) in [
            (Errno::NOSPC, "free some space"),
            (Errno::MFILE, "limit of open files"),
            (Errno::ROFS, "kernel's log"),
            (Errno::IO, "kernel's log"),
            (Errno::ACCESS, "server's user"),
        ] {
            let error = failed("stage an upload", errno);
            assert!(error.message().contains(says), "{error}");
        }
    }
}
