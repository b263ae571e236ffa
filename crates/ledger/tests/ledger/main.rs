//! The ledger over files on disk: what it records, what receivers get, and what it refuses to open.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod audit;
mod consumer;
mod events;
mod events_order;
mod location;
#[cfg(feature = "metrics")]
mod metrics;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_sessions;
mod quota;
mod recorded;
mod reindex;
mod removal;
mod retention;
mod retention_store;
mod search;
mod site;
mod verify;
mod versions;
#[cfg(feature = "postgres")]
mod versions_postgres;

use kazoo_storage::{BlobKey, Metadata, Upload};
use kazoo_storage_ledger::{Consumer, EventKind};

use self::site::Site;

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn upload(path: &str, content: &'static str) -> Upload {
    Upload::new(key(path), content)
}

fn metadata(json: &'static str) -> Metadata {
    Metadata::from_json(json).unwrap()
}

/// Receives and acknowledges everything that is due.
async fn drain(consumer: &Consumer) -> Vec<(String, EventKind)> {
    let mut events = Vec::new();
    while let Some(job) = consumer.try_next().await.unwrap() {
        events.push((job.event().file.key.to_string(), job.event().kind));
        assert!(job.ack().await.unwrap());
    }
    events
}
