//! Records files and deletions, each with its events.

use kazoo_storage::{BlobKey, Error, ErrorKind, Result};

use crate::{
    database::statement,
    event::{self, EventKind},
    file::FileRecord,
    ledger::Ledger,
    measure,
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
