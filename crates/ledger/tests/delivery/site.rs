//! A ledger in a directory of its own, for the tests of deliveries.

use std::time::Duration;

use kazoo_storage::{BlobKey, BlobStore as _, MemoryStore, Metadata, Upload};
use kazoo_storage_ledger::{
    Ledger, Recorded,
    delivery::{Receiver, Receivers},
};
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

/// A ledger, and a store that records in it.
pub(crate) struct Site {
    directory: TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) store: Recorded<MemoryStore>,
}

impl Site {
    pub(crate) async fn new() -> Self {
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

    /// Registers `receivers`, and delivers to them.
    pub(crate) async fn deliver(&self, receivers: impl IntoIterator<Item = Receiver>) -> Running {
        let receivers = Receivers::new(receivers).unwrap();
        let deliveries = self.ledger.register_receivers(receivers).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(deliveries.run(async { drop(stopped.await) }));
        Running { stop, task }
    }

    pub(crate) async fn put(&self, path: &str, content: &'static str) {
        let key = BlobKey::from_path(path).unwrap();
        self.store.put(Upload::new(key, content)).await.unwrap();
    }

    pub(crate) async fn put_with(&self, path: &str, content: &'static str, metadata: &'static str) {
        let upload = Upload::new(BlobKey::from_path(path).unwrap(), content);
        let upload = upload.with_metadata(Metadata::from_json(metadata).unwrap());
        self.store.put(upload).await.unwrap();
    }

    /// The events in the outbox: time of the next attempt, and error.
    pub(crate) fn outbox(&self) -> Vec<(Option<i64>, Option<String>)> {
        let connection = rusqlite::Connection::open(self.directory.path().join("ledger.sqlite")).unwrap();
        let mut statement = connection
            .prepare("SELECT due_at, error FROM outbox ORDER BY seq")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Waits for the error of an attempt.
    pub(crate) async fn error(&self) -> String {
        loop {
            if let Some(error) = self.outbox().into_iter().find_map(|(_, error)| error) {
                return error;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Deliveries that run until they are stopped.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops them, and waits until what is in flight is settled.
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap();
    }
}
