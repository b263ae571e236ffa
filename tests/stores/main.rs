//! Every store and wrapper passes the conformance suite, broken stores fail it, and `FsStore` and `ObjectStoreBlobs` keep
//! their own guarantees.
#![cfg(unix)]
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod broken;
mod describe;
mod encrypted;
mod engine;
mod fs;
mod fs_crash;
mod fs_scrub;
mod masked;
mod object_store;
mod versions;

use std::sync::Arc;

#[cfg(feature = "metrics")]
use kazoo_storage::store::MeasuredStore;
use kazoo_storage::{
    MemoryStore, catalog_conformance_tests, catalog_reopen_conformance_tests, conformance_tests,
    reopen_conformance_tests,
    store::{DynBlobCatalog, DynBlobStore, FaultyStore, FsOptions, FsStore},
};
use tempfile::TempDir;

conformance_tests!(memory, || async { (MemoryStore::new(), ()) });
catalog_conformance_tests!(memory_catalog, || async { (MemoryStore::new(), ()) });
conformance_tests!(files, || async { open(&FsStore::options()) });
catalog_conformance_tests!(file_catalog, || async { open(&FsStore::options()) });
conformance_tests!(files_not_durable, || async { open(&FsStore::options().durable(false)) });
catalog_conformance_tests!(file_catalog_not_durable, || async {
    open(&FsStore::options().durable(false))
});

reopen_conformance_tests!(
    files_reopened,
    || tempfile::tempdir().unwrap(),
    async |root: &TempDir| FsStore::open(root.path()).unwrap(),
);
reopen_conformance_tests!(
    files_not_durable_reopened,
    || tempfile::tempdir().unwrap(),
    async |root: &TempDir| FsStore::options().durable(false).open(root.path()).unwrap(),
);
catalog_reopen_conformance_tests!(
    file_catalog_reopened,
    || tempfile::tempdir().unwrap(),
    async |root: &TempDir| FsStore::open(root.path()).unwrap(),
);
catalog_reopen_conformance_tests!(
    file_catalog_not_durable_reopened,
    || tempfile::tempdir().unwrap(),
    async |root: &TempDir| FsStore::options().durable(false).open(root.path()).unwrap(),
);

conformance_tests!(shared, || async { (Arc::new(MemoryStore::new()), ()) });
catalog_conformance_tests!(shared_catalog, || async { (Arc::new(MemoryStore::new()), ()) });
conformance_tests!(erased, || async { (DynBlobStore::new(MemoryStore::new()), ()) });
conformance_tests!(erased_files, || async {
    let (store, root) = open(&FsStore::options().durable(false));
    (DynBlobStore::new(store), root)
});
conformance_tests!(erased_with_catalog, || async {
    (DynBlobCatalog::new(MemoryStore::new()), ())
});
catalog_conformance_tests!(erased_catalog, || async {
    (DynBlobCatalog::new(MemoryStore::new()), ())
});
conformance_tests!(without_faults, || async { (FaultyStore::new(MemoryStore::new()), ()) });
catalog_conformance_tests!(catalog_without_faults, || async {
    (FaultyStore::new(MemoryStore::new()), ())
});
#[cfg(feature = "metrics")]
conformance_tests!(measured, || async { (MeasuredStore::new(MemoryStore::new()), ()) });
#[cfg(feature = "metrics")]
catalog_conformance_tests!(measured_catalog, || async {
    (MeasuredStore::new(MemoryStore::new()), ())
});
// The server stacks the wrappers in this order.
catalog_conformance_tests!(every_wrapper, || async {
    let (store, root) = open(&FsStore::options().durable(false));
    #[cfg(feature = "metrics")]
    let store = MeasuredStore::new(DynBlobCatalog::new(store));
    (Arc::new(DynBlobCatalog::new(store)), root)
});

fn open(options: &FsOptions) -> (FsStore, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (options.open(root.path()).unwrap(), root)
}

/// Returns the names of all cases.
fn cases() -> Vec<&'static str> {
    let files = [
        include_str!("../../src/store/conformance/atomicity.rs"),
        include_str!("../../src/store/conformance/catalog.rs"),
        include_str!("../../src/store/conformance/conditions.rs"),
        include_str!("../../src/store/conformance/keys.rs"),
        include_str!("../../src/store/conformance/reopen.rs"),
        include_str!("../../src/store/conformance/round_trip.rs"),
    ];
    let cases = files.iter().flat_map(|text| text.split("\npub async fn ").skip(1));
    cases.map(|case| case.split(['(', '<']).next().unwrap()).collect()
}

#[test]
fn runs_every_case_in_the_macro() {
    let macro_text = include_str!("../../src/store/conformance/mod.rs");
    let cases = cases();
    for name in &cases {
        assert!(macro_text.contains(&format!(" {name}\n")), "{name} is not in the list");
    }
    assert!(cases.len() > 20, "{cases:?}");
}
