//! The ledger over files on disk: what it records, what receivers get, and what it refuses to open.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod consumer;
mod events;
mod events_order;
mod location;
#[cfg(feature = "metrics")]
mod metrics;
mod open;
#[cfg(feature = "postgres")]
mod postgres;
mod recorded;
mod reindex;
mod search;
mod site;
mod versions;

use kazoo_storage::{BlobKey, Metadata, Upload};

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
