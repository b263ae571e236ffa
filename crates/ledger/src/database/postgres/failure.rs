//! [`Failure`]: an error of PostgreSQL, and what to do about it.

use std::{
    borrow::Cow,
    error::Error as StdError,
    fmt::{self, Write as _},
};

use kazoo_storage::{Error, ErrorKind};
use tokio_postgres::error::{DbError, SqlState};

/// An error, and its cause.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) error: Error,
}

/// The code of an error, as its source.
#[derive(Debug)]
pub(in crate::database) struct Code(SqlState);

impl Code {
    pub(in crate::database) fn as_str(&self) -> &str {
        self.0.code()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SQLSTATE {}", self.0.code())
    }
}

impl StdError for Code {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A statement. The transaction was rolled back, and the connection can be used.
    Statement,
    /// A transaction of another server. The same transaction may succeed at once.
    Conflict,
    /// The connection. It is unknown whether the transaction was committed.
    Lost,
}

impl Failure {
    /// A connection that cannot be used.
    pub(super) fn lost(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause: Cause::Lost,
            error: Error::new(ErrorKind::Unavailable, message),
        }
    }

    /// A database that cannot be the ledger.
    pub(super) fn unusable(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            cause: Cause::Lost,
            error: Error::new(ErrorKind::Conflict, message),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(reported) = error.as_db_error() {
            return reported_by_server(reported);
        }
        let mut message = format!("PostgreSQL cannot be reached: {error}");
        let mut source = error.source();
        while let Some(cause) = source {
            let _ = write!(message, ": {cause}");
            source = cause.source();
        }
        Self::lost(message)
    }
}

/// The details of `error` are left out: they may contain numbers of callers.
fn reported_by_server(error: &DbError) -> Failure {
    let code = error.code();
    let cause = match code.code() {
        "40001" | "40P01" => Cause::Conflict,
        // The server stops, is read-only after a change of roles, or has changed tables under a prepared statement.
        "25006" | "0A000" | "26000" => Cause::Lost,
        class if ["08", "28", "3D", "57P"].iter().any(|lost| class.starts_with(lost)) => Cause::Lost,
        _ => Cause::Statement,
    };
    let hint = match *code {
        SqlState::DISK_FULL => "its disk is full",
        SqlState::TOO_MANY_CONNECTIONS => "it has no free connection; raise `max_connections`",
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "it refuses the user; check the name, the password and `pg_hba.conf`"
        }
        SqlState::INVALID_CATALOG_NAME => "the database does not exist; create it with `createdb`",
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the user lacks a privilege; it needs CREATE on the database, or to own the schema `kazoo_storage`"
        }
        SqlState::LOCK_NOT_AVAILABLE | SqlState::QUERY_CANCELED => {
            "another transaction has locked the ledger for too long"
        }
        SqlState::READ_ONLY_SQL_TRANSACTION => "it is read-only",
        SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
            "another server has changed the same rows"
        }
        _ => "the statement failed",
    };
    let message = format!("PostgreSQL: {hint}: {} (SQLSTATE {})", error.message(), code.code());
    Failure {
        cause,
        error: Error::new(ErrorKind::Unavailable, message).with_source(Code(code.clone())),
    }
}
