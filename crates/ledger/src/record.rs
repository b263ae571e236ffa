//! Records files and deletions, each with its events.

use kazoo_storage::{BlobKey, Error, ErrorKind, Result};

use crate::{
    database::{Engine, Statement, statement},
    event::{self, EventKind},
    file::{FileRecord, kind_name},
    ledger::Ledger,
    measure, outbox,
    rows::{columns, encode, read},
    time,
};

impl Ledger {
    /// Returns the file under `key`, if the ledger has it.
    pub async fn file(&self, key: &BlobKey) -> Result<Option<FileRecord>> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM files WHERE key = $1");
        let rows = self.read(statement!(SQL, encode(key))).await?;
        rows.into_iter().next().map(read).transpose()
    }

    /// Records that `file` is stored, and its event. Returns the kind of the event, or `None` if the ledger already has
    /// the file with this content, metadata and media type.
    ///
    /// Call it after the file is durable. [`Recorded`](crate::Recorded) does. Fails with [`ErrorKind::Unavailable`] while another
    /// server that shares the ledger is removing the file, because it may have removed this one from the store.
    pub async fn record(&self, file: &FileRecord) -> Result<Option<EventKind>> {
        let event = event::new_id();
        let rows = self.change_file(store(self.engine(), file, &event)).await?;
        let revision = rows.into_iter().next_back().into_iter().flatten().next();
        let revision = revision.map(|mut row| row.optional_integer()).transpose()?;
        let kind = match revision.flatten() {
            None => None,
            Some(0) => {
                let message = "the file is being removed by another server; send it again";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            Some(1) => Some(EventKind::Stored),
            Some(_) => Some(EventKind::Replaced),
        };
        if let Some(kind) = kind {
            measure::recorded(kind);
            self.wake();
        }
        Ok(kind)
    }
}

/// The client must send the request again, whatever the reason.
pub(crate) fn unrecorded(error: Error) -> Error {
    let message = format!("the change cannot be recorded in the ledger: {}", error.message());
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

/// The statement that stores a file, with the revision `$first`, if the ledger does not have it, or with `$next` if
/// `$condition` holds for the row that it has. `$described` sets the columns that depend on the metadata.
macro_rules! upsert {
    ($first:literal, $next:literal, $described:expr, $condition:expr) => {
        concat!(
            "INSERT INTO files (key, account, owner, document, attachment, kind, size, sha256, content_type, stored_at, ",
            "metadata, call_id, caller_number, callee_number, event, revision) ",
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, ",
            $first,
            ") ",
            "ON CONFLICT (key) DO UPDATE SET size = excluded.size, sha256 = excluded.sha256, ",
            "content_type = excluded.content_type, stored_at = excluded.stored_at, event = excluded.event, ",
            $described,
            ", revision = ",
            $next,
            " WHERE ",
            $condition
        )
    };
}

/// Sets the columns that depend on the metadata to those of the file.
macro_rules! described {
    () => {
        "kind = excluded.kind, metadata = excluded.metadata, call_id = excluded.call_id, \
            caller_number = excluded.caller_number, callee_number = excluded.callee_number"
    };
}

/// Does the same, unless the store has neither a digest nor metadata of the file. It may then have ignored a sidecar whose file was
/// touched or restored, and the file must not leave its holds, and the reach of an erasure.
macro_rules! described_if_known {
    () => {
        concat!(
            described_if_known!("kind"),
            ", ",
            described_if_known!("metadata"),
            ", ",
            described_if_known!("call_id"),
            ", ",
            described_if_known!("caller_number"),
            ", ",
            described_if_known!("callee_number")
        )
    };
    ($column:literal) => {
        concat!(
            $column,
            " = CASE WHEN excluded.sha256 IS NULL AND excluded.metadata IS NULL THEN files.",
            $column,
            " ELSE excluded.",
            $column,
            " END"
        )
    };
}

/// The condition of [`store`] for the row that the ledger has: it is not the same file, recorded by an upload.
macro_rules! differs {
    () => {
        "(files.revision <= 0 OR files.size <> excluded.size OR files.sha256 IS DISTINCT FROM excluded.sha256 \
            OR files.content_type IS DISTINCT FROM excluded.content_type \
            OR files.metadata IS DISTINCT FROM excluded.metadata)"
    };
}

/// Returns the statements that store `file` with the id of its event, and add the event for each receiver, unless an upload has
/// recorded the same file, or another server is removing the file. The last one returns the revision of the file, or 0 if another
/// server is removing it. It returns no row or NULL if an upload has recorded the same file.
///
/// With SQLite, one process changes the store, and it has locked the key: no removal is running, and the upload ends one that a crash
/// has left. With PostgreSQL, such a removal refuses uploads until [`finish_removals`](crate::Recorded::finish_removals) finishes it.
pub(crate) fn store(engine: Engine, file: &FileRecord, event: &str) -> Vec<Statement> {
    match engine {
        // `RETURNING` would be simpler than `revision`, but SQLite then creates a temporary table, and copies each page before
        // changing it, which takes longer than the change.
        Engine::Sqlite => {
            const SQL: &str = upsert!("1", "abs(files.revision) + 1", described!(), differs!());
            vec![
                row(SQL, file, event),
                outbox::stored(&file.key, event),
                revision(&file.key, event),
            ]
        }
        // One statement takes half of the time of three.
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            // `is_being_removed` is volatile, so it sees a removal that was committed while the statement waited for the row. A
            // subquery would not. A file that is being removed has a row.
            const SQL: &str = concat!(
                "WITH f AS (",
                upsert!(
                    "1",
                    "abs(files.revision) + 1",
                    described!(),
                    concat!(differs!(), " AND NOT is_being_removed(files.key)")
                ),
                " RETURNING ",
                columns!(),
                ", event, revision), added AS (",
                outbox::add_stored!("$16"),
                ") SELECT COALESCE((SELECT revision FROM f), CASE WHEN is_being_removed($1) THEN 0 END)"
            );
            let mut statement = row(SQL, file, event);
            statement.parameters.push(time::now().into());
            vec![statement]
        }
    }
}

/// Returns the revision of the file under `key`, or nothing if the statement before it did not store the file with `event`.
fn revision(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = "SELECT revision FROM files WHERE key = $1 AND event = $2";
    statement!(SQL, encode(key), event)
}

/// Returns the statements that store `file`, found in the store, unless the ledger has one that was stored at the same time or later.
/// The last one returns a row if they did. A file without a digest and metadata keeps the metadata of the row.
///
/// The revision of such a file is not positive: its upload may be about to record it, with an event.
pub(crate) fn store_newer(engine: Engine, file: &FileRecord, event: &str) -> Vec<Statement> {
    macro_rules! sql {
        () => {
            upsert!(
                "0",
                "-abs(files.revision)",
                described_if_known!(),
                "files.stored_at < excluded.stored_at"
            )
        };
    }
    match engine {
        // Cheaper than `RETURNING`, as in `store`, and than a lookup of the row.
        Engine::Sqlite => vec![row(sql!(), file, event), statement!("SELECT 1 WHERE changes() > 0")],
        #[cfg(feature = "postgres")]
        Engine::Postgres => vec![row(concat!(sql!(), " RETURNING revision"), file, event)],
    }
}

/// Stores `file`, found in the store, if the ledger has another length or digest. Its revision is as that of [`store_newer`].
pub(crate) fn store_found(file: &FileRecord, event: &str) -> Statement {
    const SQL: &str = upsert!(
        "0",
        "-abs(files.revision)",
        described!(),
        "(files.size <> excluded.size OR files.sha256 IS DISTINCT FROM excluded.sha256)"
    );
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
