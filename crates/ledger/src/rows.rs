//! The rows of `files`, and the statements that write them.

use kazoo_storage::{BlobKey, Metadata, Result, digest::Digest};

use crate::{
    database::{Row, Statement, statement},
    file::{FileRecord, kind_name, kind_named},
    time,
};

/// Separates the segments of a key in the database. No segment contains it.
const SEPARATOR: &str = "\u{1f}";

/// The columns of `files` that [`read`] reads.
macro_rules! columns {
    () => {
        "key, kind, size, sha256, content_type, stored_at, metadata, call_id, caller_number, callee_number"
    };
}
pub(crate) use columns;

/// The statement that stores a file if the ledger does not have it, or if `$condition` holds for the row that it has.
macro_rules! upsert {
    ($condition:literal) => {
        concat!(
            "INSERT INTO files (key, account, owner, document, attachment, kind, size, sha256, content_type, stored_at, ",
            "metadata, call_id, caller_number, callee_number, event, revision) ",
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 1) ",
            "ON CONFLICT (key) DO UPDATE SET kind = excluded.kind, size = excluded.size, sha256 = excluded.sha256, ",
            "content_type = excluded.content_type, stored_at = excluded.stored_at, metadata = excluded.metadata, ",
            "call_id = excluded.call_id, caller_number = excluded.caller_number, ",
            "callee_number = excluded.callee_number, event = excluded.event, revision = files.revision + 1 WHERE ",
            $condition,
            " RETURNING revision"
        )
    };
}

/// Stores `file` with the id of its event. Returns the revision, or nothing if the ledger has the same file.
pub(crate) fn store(file: &FileRecord, event: &str) -> Statement {
    const SQL: &str = upsert!(
        "(files.size <> excluded.size OR files.sha256 IS DISTINCT FROM excluded.sha256 \
            OR files.content_type IS DISTINCT FROM excluded.content_type \
            OR files.metadata IS DISTINCT FROM excluded.metadata)"
    );
    row(SQL, file, event)
}

/// Stores `file` as [`store`] does, unless the ledger has one that was stored at the same time or later.
pub(crate) fn store_newer(file: &FileRecord, event: &str) -> Statement {
    const SQL: &str = upsert!("files.stored_at < excluded.stored_at");
    row(SQL, file, event)
}

fn row(sql: &'static str, file: &FileRecord, event: &str) -> Statement {
    let metadata = file.metadata.as_ref();
    statement!(
        sql,
        encode(&file.key),
        file.key.account_id(),
        file.key.owner_id(),
        file.key.document_id(),
        file.key.attachment(),
        kind_name(file.kind),
        i64::try_from(file.size).unwrap_or(i64::MAX),
        file.sha256.map(|digest| digest.as_bytes().to_vec()),
        file.content_type.as_deref(),
        time::to_millis(file.stored_at),
        metadata.map(|metadata| metadata.as_json().clone()),
        file.call_id.as_deref(),
        file.caller_number.as_deref(),
        file.callee_number.as_deref(),
        event,
    )
}

/// Reads a row of [`columns!`].
pub(crate) fn read(mut row: Row) -> Result<FileRecord> {
    let key = BlobKey::from_segments(row.text()?.split(SEPARATOR))?;
    let kind = row.text()?;
    let size = row.integer()?;
    let sha256 = row.optional_bytes()?;
    let content_type = row.optional_text()?;
    let stored_at = row.integer()?;
    let metadata = row.optional_text()?;
    Ok(FileRecord {
        key,
        kind: kind_named(&kind),
        size: u64::try_from(size).unwrap_or_default(),
        sha256: sha256.and_then(|bytes| bytes.try_into().ok()).map(Digest::from_bytes),
        content_type,
        stored_at: time::from_millis(stored_at),
        metadata: metadata.map(Metadata::from_json).transpose()?,
        call_id: row.optional_text()?,
        caller_number: row.optional_text()?,
        callee_number: row.optional_text()?,
    })
}

/// Returns `key` as the database has it.
pub(crate) fn encode(key: &BlobKey) -> String {
    let mut text = String::new();
    for (position, segment) in key.segments().enumerate() {
        if position > 0 {
            text.push_str(SEPARATOR);
        }
        text.push_str(segment);
    }
    text
}
