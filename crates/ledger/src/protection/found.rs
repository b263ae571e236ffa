//! [`Found`]: what the ledger knows of a file before it is removed or replaced.

use kazoo_storage::{BlobKey, Result};

use crate::{
    database::{Row, Statement, statement},
    file::FileRecord,
    holds::keeps,
    rows::{encode, read, short_columns},
};

/// A row of [`find`].
pub(crate) struct Found {
    /// The id of the last event of the file.
    pub(crate) event: String,
    /// A removal of the file has begun.
    pub(crate) is_begun: bool,
    /// The file, without its metadata.
    pub(crate) file: FileRecord,
}

impl Found {
    pub(crate) fn read(mut row: Row) -> Result<Self> {
        Ok(Self {
            event: row.text()?,
            is_begun: row.integer()? > 0,
            file: read(row)?,
        })
    }
}

/// Returns the statement that finds the file under `key`.
pub(crate) fn find(key: &BlobKey) -> Statement {
    const SQL: &str = concat!(
        "SELECT event, (SELECT count(*) FROM removals r WHERE r.key = files.key), ",
        short_columns!(),
        " FROM files WHERE key = $1"
    );
    statement!(SQL, encode(key))
}

/// Returns the statement that finds the oldest hold of the file under `key`.
pub(crate) fn protecting(key: &BlobKey) -> Statement {
    const SQL: &str = concat!(
        "SELECT h.id, h.reason FROM files f CROSS JOIN holds h WHERE f.key = $1 AND ",
        keeps!(),
        " ORDER BY h.created_at, h.id LIMIT 1"
    );
    statement!(SQL, encode(key))
}
