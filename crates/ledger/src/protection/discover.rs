//! [`Ledger::discover`]: records a file that only the store has.

use kazoo_storage::{BlobKey, BlobStore, ErrorKind, Result};

use super::{
    Protection,
    found::{Found, find},
};
use crate::{
    event,
    file::FileRecord,
    ledger::Ledger,
    record::{store_newer, unrecorded},
    reindex::describe,
};

/// The result of [`Ledger::discover`].
pub(crate) enum Discovered {
    File(Box<Found>),
    Nothing,
    /// The file cannot be read, and a hold may be meant to keep it.
    Protected(Protection),
}

impl Ledger {
    /// Records the file under `key`, which only the store has, as a reindex does.
    pub(crate) async fn discover<S: BlobStore>(&self, store: &S, key: &BlobKey) -> Result<Discovered> {
        let file = match describe(store, key).await {
            Ok(None) => return Ok(Discovered::Nothing),
            Ok(Some(file)) => file,
            // The store has the file but cannot describe it, because the file is damaged or from another program.
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Internal) => {
                let mut holds = self.holds().await.map_err(unrecorded)?.into_iter();
                if let Some(hold) = holds.find(|hold| hold.may_keep(key)) {
                    let (id, reason) = (hold.id, hold.reason);
                    return Ok(Discovered::Protected(Protection::Hold { id, reason }));
                }
                FileRecord::new(key, 0, None)
            }
            Err(error) => return Err(error),
        };
        // Somebody else may have recorded the file meanwhile.
        let mut statements = store_newer(self.engine(), &file, &event::new_id());
        statements.push(find(key));
        let mut rows = self.change(statements).await.map_err(unrecorded)?;
        let found = rows.pop().and_then(|rows| rows.into_iter().next());
        let found = found.map(Found::read).transpose()?;
        Ok(found.map_or(Discovered::Nothing, |found| Discovered::File(Box::new(found))))
    }
}
