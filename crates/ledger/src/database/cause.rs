//! [`Cause`]: the cause of a failure, for the metrics.

use std::error::Error as _;

use kazoo_storage::{Error, ErrorKind};
use rusqlite::ErrorCode;

/// The cause of a failure of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The disk is full.
    Full,
    /// Another process or transaction holds a lock for too long.
    Locked,
    /// The database is damaged.
    Damaged,
    /// The database cannot be reached or opened, or accepts no writes.
    Unavailable,
    Other,
}

impl Cause {
    #[cfg(feature = "metrics")]
    pub(crate) const ALL: [Self; 5] = [Self::Full, Self::Locked, Self::Damaged, Self::Unavailable, Self::Other];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Locked => "locked",
            Self::Damaged => "damaged",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// Returns the cause of an error of the database.
    pub(crate) fn of(error: &Error) -> Self {
        let mut source = error.source();
        while let Some(error) = source {
            if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
                return Self::of_sqlite(error);
            }
            #[cfg(feature = "postgres")]
            if let Some(code) = error.downcast_ref::<super::postgres::Code>() {
                return Self::of_postgres(code.as_str());
            }
            source = error.source();
        }
        match error.kind() {
            ErrorKind::Damaged => Self::Damaged,
            // The connection has ended.
            ErrorKind::Unavailable => Self::Unavailable,
            _ => Self::Other,
        }
    }

    fn of_sqlite(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged,
            Some(
                ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::SystemIoFailure,
            ) => Self::Unavailable,
            _ => Self::Other,
        }
    }

    /// Returns the cause of a SQLSTATE, whose first two characters are its class.
    #[cfg(feature = "postgres")]
    fn of_postgres(code: &str) -> Self {
        match code {
            "53100" => Self::Full,
            "55P03" | "57014" | "40001" | "40P01" => Self::Locked,
            "XX001" | "XX002" => Self::Damaged,
            "25006" | "53300" => Self::Unavailable,
            class if ["08", "28", "3D", "57P"].iter().any(|lost| class.starts_with(lost)) => Self::Unavailable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_errors_of_sqlite() {
        for (code, cause) in [
            (rusqlite::ffi::SQLITE_FULL, Cause::Full),
            (rusqlite::ffi::SQLITE_BUSY, Cause::Locked),
            (rusqlite::ffi::SQLITE_CORRUPT, Cause::Damaged),
            (rusqlite::ffi::SQLITE_NOTADB, Cause::Damaged),
            (rusqlite::ffi::SQLITE_READONLY, Cause::Unavailable),
            (rusqlite::ffi::SQLITE_IOERR, Cause::Unavailable),
            (rusqlite::ffi::SQLITE_CONSTRAINT, Cause::Other),
        ] {
            let source = rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
            let error = Error::new(ErrorKind::Unavailable, "the ledger failed").with_source(source);
            assert_eq!(Cause::of(&error), cause, "{code}");
        }
        let ended = Error::new(ErrorKind::Unavailable, "the connection to the ledger has ended");
        assert_eq!(Cause::of(&ended), Cause::Unavailable);
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn classifies_states_of_postgres() {
        for (code, cause) in [
            ("53100", Cause::Full),
            ("55P03", Cause::Locked),
            ("XX001", Cause::Damaged),
            ("57P01", Cause::Unavailable),
            ("08006", Cause::Unavailable),
            ("22021", Cause::Other),
        ] {
            assert_eq!(Cause::of_postgres(code), cause, "{code}");
        }
    }
}
