//! Files are removed in three steps, and never if they are protected.

mod erasure;
mod holds;
mod interrupted;
mod overwrite;
mod remove;
mod servers;

use std::sync::Arc;

use http_body_util::BodyExt as _;
use kazoo_storage::{BlobStore, MemoryStore, store::FaultyStore};
use kazoo_storage_ledger::{Ledger, Recorded, holds::NewHold, protection::Protection, removal::Removal};

use super::{Site, drain, key, metadata, upload};

/// A store that outlives the process that uses it.
type Shared = FaultyStore<Arc<MemoryStore>>;

fn shared() -> Shared {
    FaultyStore::new(Arc::default())
}

fn hold() -> NewHold {
    NewHold::new("case 7", "legal")
}

/// Adds a hold of the account without the wait, as another server would have done a while ago.
fn hold_account(site: &Site, account: &str) {
    site.execute(&format!(
        "INSERT INTO holds (id, reason, author, created_at, account) VALUES ('h-{account}', 'case 7', 'legal', 1, '{account}')"
    ));
}

async fn content(store: &impl BlobStore, path: &str) -> String {
    let blob = store.get(&key(path), None).await.unwrap().into_blob().unwrap();
    let bytes = blob.body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names of the files that the ledger has.
async fn names(ledger: &Ledger) -> Vec<String> {
    let files = ledger.search(kazoo_storage_ledger::Search::new(), 1000).await.unwrap();
    let mut names: Vec<_> = files.iter().map(|file| file.key.to_string()).collect();
    names.sort();
    names
}

fn is_held(removal: &Removal, id: &str) -> bool {
    matches!(removal, Removal::Protected(Protection::Hold { id: found, .. }) if found == id)
}

async fn server<S: BlobStore>(site: &Site, store: S) -> Recorded<S> {
    Recorded::new(store, site.open_again().await)
}
