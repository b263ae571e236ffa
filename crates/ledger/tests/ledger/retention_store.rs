//! Retention recognizes the store: it removes no rows because files are missing in the wrong one.

use std::{sync::Arc, time::Duration};

use kazoo_storage::{
    BlobStore as _, Error, ErrorKind, MemoryStore, Upload,
    store::{Fault, FaultyStore, Operation},
};
use kazoo_storage_ledger::{
    Recorded, Search,
    policy::{Policy, Rule},
};

use super::{
    Site, key,
    retention::{policy, record},
};

#[tokio::test]
async fn removes_nothing_if_the_store_has_none_of_the_oldest_files() {
    let site = Site::new().await;
    record(&site, &[("A/D/1", 3), ("A/D/2", 2)]).await;
    site.ledger.set_policy(policy([Rule::new().days(1)]));
    let files = FaultyStore::new(Arc::new(MemoryStore::new()));
    let store = Recorded::new(files.clone(), site.ledger.clone());
    // An upload to the wrong store.
    files.put(Upload::new(key("A/D/new"), "ID3")).await.unwrap();
    let refused = store.retain().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // A failure proves nothing.
    files.inject(
        [Operation::Head],
        Fault::Fail(Error::new(ErrorKind::Unavailable, "down")),
    );
    assert_eq!(store.retain().await.unwrap_err().message(), "down");
    files.repair();
    assert_eq!(site.ledger.search(Search::new(), 9).await.unwrap().len(), 2);
    // One file was deleted by hand.
    files.put(Upload::new(key("A/D/2"), "ID3")).await.unwrap();
    assert_eq!(store.retain().await.unwrap().removed, 2);
}

#[tokio::test]
async fn a_document_whose_file_is_lost_delays_no_other() {
    let site = Site::new().await;
    record(&site, &[("A/D1/lost", 0), ("A/D2/message.mp3", 0), ("A/D3/kept", 9)]).await;
    site.ledger.set_policy(Policy::new().grace(Duration::ZERO));
    let files = Arc::new(MemoryStore::new());
    for path in ["A/D2/message.mp3", "A/D3/kept"] {
        files.put(Upload::new(key(path), "ID3")).await.unwrap();
    }
    for document in ["D1", "D2"] {
        site.ledger.request_deletion("A", document, "fax").await.unwrap();
    }
    site.execute("UPDATE deletion_requests SET due_at = due_at - 1000");
    let store = Recorded::new(files, site.ledger.clone());
    assert_eq!(store.retain().await.unwrap().removed, 2);
}
