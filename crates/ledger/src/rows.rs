//! The rows of `files`, and keys as the database has them.

use kazoo_storage::{BlobKey, Metadata, Result, digest::Digest};

use crate::{
    database::Row,
    file::{FileRecord, kind_named},
    time,
};

/// Separates the segments of a key in the database. No segment contains it.
pub(crate) const SEPARATOR: &str = "\u{1f}";

/// The columns of `files` that [`read`] reads.
macro_rules! columns {
    () => {
        "key, kind, size, sha256, content_type, stored_at, metadata, call_id, caller_number, callee_number"
    };
}
pub(crate) use columns;

/// The columns of [`columns!`] without the document, which may be long.
macro_rules! short_columns {
    () => {
        "key, kind, size, sha256, content_type, stored_at, CAST(NULL AS TEXT), call_id, caller_number, callee_number"
    };
}
pub(crate) use short_columns;

/// Reads a row of [`columns!`].
pub(crate) fn read(mut row: Row) -> Result<FileRecord> {
    let key = decode(&row.text()?)?;
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

/// Returns the key that the database has as `text`.
pub(crate) fn decode(text: &str) -> Result<BlobKey> {
    BlobKey::from_segments(text.split(SEPARATOR))
}

/// Returns `key` as the database has it.
pub(crate) fn encode(key: &BlobKey) -> String {
    let len = key.segments().map(|segment| segment.len() + SEPARATOR.len()).sum();
    let mut text = String::with_capacity(len);
    for (position, segment) in key.segments().enumerate() {
        if position > 0 {
            text.push_str(SEPARATOR);
        }
        text.push_str(segment);
    }
    text
}
