//! Records files and deletions, each with its events.

use kazoo_storage::{BlobKey, Result};

use crate::{
    database::statement,
    event::{self, EventKind},
    file::FileRecord,
    ledger::Ledger,
    measure, outbox,
    rows::{columns, encode, read, store},
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
    /// Call it after the file is durable. [`Recorded`](crate::Recorded) does.
    pub async fn record(&self, file: &FileRecord) -> Result<Option<EventKind>> {
        let event = event::new_id();
        let statements = vec![store(file, &event), outbox::stored(&file.key, &event)];
        let mut rows = self.change(statements).await?.into_iter().flatten();
        let revision = rows.next().map(|mut row| row.integer()).transpose()?;
        let kind = revision.map(|revision| match revision {
            1 => EventKind::Stored,
            _ => EventKind::Replaced,
        });
        if let Some(kind) = kind {
            measure::recorded(kind);
            self.wake();
        }
        Ok(kind)
    }

    /// Records that the file under `key` is deleted, and its event. Returns `false` if the ledger does not have it.
    pub async fn record_deletion(&self, key: &BlobKey) -> Result<bool> {
        // Takes the file for this event first, so that the other statements see a change of another process.
        const MARK: &str = "UPDATE files SET event = $1 WHERE key = $2";
        const DELETE: &str = "DELETE FROM files WHERE key = $1 AND event = $2 RETURNING revision";
        let event = event::new_id();
        let statements = vec![
            statement!(MARK, &*event, encode(key)),
            outbox::deleted(key, &event),
            statement!(DELETE, encode(key), &*event),
        ];
        let deleted = self.change(statements).await?.into_iter().flatten().count() > 0;
        if deleted {
            measure::recorded(EventKind::Deleted);
        }
        self.wake();
        Ok(deleted)
    }
}
