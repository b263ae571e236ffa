//! Holds, and the removal of files.
//!
//! A [`Hold`] keeps the files that satisfy its conditions, also those that are stored later: no removal and no upload changes
//! them. [`Ledger::add_hold`](crate::Ledger::add_hold) adds one.
//!
//! [`Recorded`](crate::Recorded) removes files in three steps: it records the intent, unless the file is held; it removes the
//! file from the store; and it removes the row and the intent, and records the event. After a crash,
//! [`Recorded::finish_removals`](crate::Recorded::finish_removals) finishes the removals that were interrupted.
//!
//! ```
//! use kazoo_storage::{BlobCatalog, BlobKey, BlobStore, ErrorKind, MemoryStore, Upload};
//! use kazoo_storage_ledger::{Ledger, Recorded, keep::NewHold};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("ledger.sqlite");
//! let ledger = Ledger::sqlite(path).await?;
//! let store = Recorded::new(MemoryStore::new(), ledger.clone());
//! let key = BlobKey::from_path("ACCOUNT/202401-DOCUMENT/message.mp3")?;
//! store.put(Upload::new(key.clone(), "ID3…")).await?;
//!
//! let hold = NewHold::new("case 7", "legal@example.com").account("ACCOUNT");
//! let added = ledger.add_hold(hold).await?;
//! assert_eq!(store.delete(&key).await.unwrap_err().kind(), ErrorKind::Conflict);
//!
//! ledger.remove_hold(&added.hold.id).await?;
//! store.delete(&key).await?;
//! # Ok::<(), kazoo_storage::Error>(())
//! # }).unwrap();
//! ```

mod cause;
mod delete;
mod discover;
mod erasure;
mod hold;
mod holds;
mod overwrite;
mod protection;
mod recovery;
mod removal;
mod rules;
mod sibling;
mod statements;

pub use self::{
    cause::Cause,
    erasure::{Erased, Erasure, Kept, Subject},
    hold::{Hold, NewHold},
    holds::AddedHold,
    protection::Protection,
    removal::Removal,
};
pub(crate) use self::{
    hold::keeps,
    overwrite::{Ended, Target, Verdict},
    rules::{Committing, Keeper},
};
