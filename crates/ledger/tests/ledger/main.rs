//! The ledger over files on disk: what it records, what receivers get, and what it refuses to open.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod consumer;
mod open;
mod recorded;
mod reindex;
mod search;

use std::path::PathBuf;

use kazoo_storage::{BlobKey, MemoryStore, Metadata, Upload};
use kazoo_storage_ledger::{Ledger, Recorded};
use tempfile::TempDir;

/// A ledger in a directory of its own.
struct Site {
    directory: TempDir,
    ledger: Ledger,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ledger = open(directory.path().join("ledger.sqlite")).await;
        Self { directory, ledger }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("ledger.sqlite")
    }

    fn store(&self) -> Recorded<MemoryStore> {
        Recorded::new(MemoryStore::new(), self.ledger.clone())
    }

    /// Runs `sql` on a connection of its own, as another process would.
    fn execute(&self, sql: &str) {
        rusqlite::Connection::open(self.path())
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }
}

async fn open(path: PathBuf) -> Ledger {
    // A test needs no sync: it survives its own process.
    Ledger::options().durable(false).sqlite(path).await.unwrap()
}

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn upload(path: &str, content: &'static str) -> Upload {
    Upload::new(key(path), content)
}

fn metadata(json: &'static str) -> Metadata {
    Metadata::from_json(json).unwrap()
}
