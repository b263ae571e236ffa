//! Holds. A [`Hold`] keeps the files that satisfy its conditions, also those that are stored later: no removal and no upload changes
//! them.
//!
//! ```
//! use kazoo_storage::{BlobCatalog, BlobKey, BlobStore, ErrorKind, MemoryStore, Upload};
//! use kazoo_storage_ledger::{Ledger, Recorded, holds::NewHold};
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

mod hold;
mod keeper;

pub use self::hold::{AddedHold, Hold, NewHold};
pub(crate) use self::{
    hold::{columns, keeps},
    keeper::{Committing, HOLDS, Keeper, LEASE, Rules},
};
