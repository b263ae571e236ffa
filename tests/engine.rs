//! `ObjectStoreBlobs` keeps its contracts on an engine that runs: Ceph, and the emulators of Google's and Azure's.
#![cfg(all(feature = "conformance", feature = "server"))]
// A failed assertion is what a test is for.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod support;

use kazoo_storage::{catalog_conformance_tests, conformance_tests};
use support::engine;

conformance_tests!(
    #[ignore = "needs an object store: see tests/cluster"]
    engine_store,
    || async { (engine::store(), ()) }
);
catalog_conformance_tests!(
    #[ignore = "needs an object store: see tests/cluster"]
    engine_catalog,
    || async { (engine::store(), ()) }
);
