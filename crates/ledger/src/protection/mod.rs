//! What protects a file: the holds, and the floors of the policy. Uploads to its key are stored beside it.

mod discover;
mod found;
mod holds;
mod overwrite;
mod sibling;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use humantime::format_rfc3339_seconds;
use kazoo_storage::{BlobKey, Error, ErrorKind, Result};

pub(crate) use self::{
    discover::Discovered,
    found::{Found, find, protecting},
    overwrite::{Ended, Target, Verdict},
};
use crate::database::Row;

/// The protection of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// A hold keeps the file: the oldest one.
    Hold {
        /// The id of the hold.
        id: String,
        /// The reason of the hold.
        reason: String,
    },
    /// The policy keeps the file until this time.
    Floor(SystemTime),
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold { id, reason } => write!(f, "held by the hold {id} ({reason})"),
            Self::Floor(end) => {
                // RFC 3339 ends with the year 9999.
                let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
                write!(
                    f,
                    "kept by the policy until {}",
                    format_rfc3339_seconds((*end).min(last))
                )
            }
        }
    }
}

impl Protection {
    /// Reads the first row of [`protecting`](found::protecting).
    pub(crate) fn read(rows: Vec<Row>) -> Result<Option<Self>> {
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(Self::Hold {
            id: row.text()?,
            reason: row.text()?,
        }))
    }

    pub(crate) fn refusal(&self, key: &BlobKey) -> Error {
        let remedy = match self {
            Self::Hold { .. } => "; to remove the file, remove its holds first",
            Self::Floor(_) => "; to remove the file earlier, lower the `floor_days` of the policy",
        };
        Error::new(
            ErrorKind::Conflict,
            format!("the file `{key}` is {self}, and was not removed{remedy}"),
        )
    }
}
