//! Webhooks over sockets: what arrives, and what happens to events that receivers do not accept.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod events;
mod failures;
#[cfg(feature = "metrics")]
mod metrics;
mod receiver;
mod reload;

use kazoo_storage::{BlobKey, BlobStore as _, MemoryStore, Metadata, Upload};
use kazoo_storage_ledger::{
    Ledger, Recorded,
    webhook::{Webhook, Webhooks},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

/// A ledger in a directory of its own, and a store that records in it.
struct Site {
    directory: TempDir,
    ledger: Ledger,
    store: Recorded<MemoryStore>,
}

impl Site {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ledger.sqlite");
        // A test needs no sync: it survives its own process.
        let ledger = Ledger::options().durable(false).sqlite(path).await.unwrap();
        let store = Recorded::new(MemoryStore::new(), ledger.clone());
        Self {
            directory,
            ledger,
            store,
        }
    }

    /// Registers `webhooks`, and delivers to them.
    async fn deliver(&self, webhooks: impl IntoIterator<Item = Webhook>) -> Running {
        let webhooks = Webhooks::new(webhooks).unwrap();
        let deliveries = self.ledger.webhooks(webhooks).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(deliveries.run(async { drop(stopped.await) }));
        Running { stop, task }
    }

    async fn put(&self, path: &str, content: &'static str) {
        let key = BlobKey::from_path(path).unwrap();
        self.store.put(Upload::new(key, content)).await.unwrap();
    }

    async fn put_with(&self, path: &str, content: &'static str, metadata: &'static str) {
        let upload = Upload::new(BlobKey::from_path(path).unwrap(), content);
        let upload = upload.with_metadata(Metadata::from_json(metadata).unwrap());
        self.store.put(upload).await.unwrap();
    }

    /// The events in the outbox: time of the next attempt, and error.
    fn outbox(&self) -> Vec<(Option<i64>, Option<String>)> {
        let connection = rusqlite::Connection::open(self.directory.path().join("ledger.sqlite")).unwrap();
        let mut statement = connection
            .prepare("SELECT due_at, error FROM outbox ORDER BY seq")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// Deliveries that run until they are stopped.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops them, and waits until what is in flight is settled.
    async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}
