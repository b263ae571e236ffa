//! From an error of the operating system to the crate's [`Error`].

use std::io;

use rustix::io::Errno;

use crate::error::{Error, ErrorKind};

/// The error for `error`, which came up when the store tried to `do_what`.
///
/// The message names no path of the machine: it is shown to the administrator of KAZOO.
pub(super) fn failed(do_what: &'static str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    explained(kind(&error), do_what, error)
}

/// The error for `error` where it is about no file that is stored, but about what the store itself has.
pub(super) fn broken(do_what: &'static str, error: impl Into<io::Error>) -> Error {
    let error = error.into();
    let kind = match kind(&error) {
        ErrorKind::NotFound => ErrorKind::Unavailable,
        kind => kind,
    };
    explained(kind, do_what, error)
}

fn explained(kind: ErrorKind, do_what: &'static str, error: io::Error) -> Error {
    let message = match kind {
        ErrorKind::StorageFull => "the storage's file system, or a quota on it, is full; make room".into(),
        ErrorKind::NotFound => "no file is stored under this name".into(),
        ErrorKind::InvalidKey => {
            format!("a segment of the path is no file name on the storage's file system: {error}")
        }
        ErrorKind::TooLarge => "the file is larger than the storage's file system or a process limit allows".into(),
        _ => match remedy(&error) {
            Some(remedy) => format!("the storage failed to {do_what}: {error}; {remedy}"),
            None => format!("the storage failed to {do_what}: {error}"),
        },
    };
    Error::new(kind, message).with_source(error)
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StorageFull,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
            ErrorKind::Conflict
        }
        io::ErrorKind::InvalidFilename => ErrorKind::InvalidKey,
        io::ErrorKind::FileTooLarge => ErrorKind::TooLarge,
        // A device that fails, a file system gone read-only, no right to it, too many open files: the operator
        // can put it right, and KAZOO sends the same upload again meanwhile.
        _ => ErrorKind::Unavailable,
    }
}

/// What the operator can do.
fn remedy(error: &io::Error) -> Option<&'static str> {
    Some(match Errno::from_io_error(error)? {
        Errno::IO => "see what the kernel's log says of the disk",
        Errno::ROFS => "the kernel's log says why, if nobody made it so",
        Errno::MFILE => "raise the process's limit of open files",
        Errno::NFILE => "raise the system's limit of open files",
        Errno::ACCESS | Errno::PERM => "see that the server's user may do that",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn every_errno_has_its_kind() {
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
    fn what_the_operator_can_put_right_says_how() {
        for (errno, says) in [
            (Errno::NOSPC, "make room"),
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
