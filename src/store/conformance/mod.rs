//! The contracts of [`BlobStore`] and [`BlobCatalog`](super::BlobCatalog) as test suites.
//!
//! To test a store, add `kazoo-storage` with the feature `conformance` to the dev-dependencies, and call the macros in
//! an integration test. Each case becomes a test: `cargo test my_store` runs the suite, and
//! `cargo test my_store::keeps_the_content_type` one case.
//!
//! ```
//! use kazoo_storage::MemoryStore;
//!
//! // Creates an empty store, and a guard that must live as long as the store, such as a temporary directory.
//! kazoo_storage::conformance_tests!(my_store, || async { (MemoryStore::new(), ()) });
//! // Only for a store that implements `BlobCatalog`.
//! kazoo_storage::catalog_conformance_tests!(my_catalog, || async { (MemoryStore::new(), ()) });
//! ```
//!
//! [`reopen_conformance_tests!`](crate::reopen_conformance_tests) tests that a store has its files
//! after it is dropped and opened again, and
//! [`catalog_reopen_conformance_tests!`](crate::catalog_reopen_conformance_tests) that its listings and deletions are the
//! same. The suite does not simulate a power failure.
//!
//! Every case is a function of this module. Its documentation is the sentence of the contract that it demands, and it
//! panics with that sentence if the store violates it. The suite itself is tested with stores that each violate one
//! sentence.

// A violated contract is a panic.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used
)]

mod atomicity;
mod catalog;
mod conditions;
mod held;
mod keys;
mod reopen;
mod round_trip;
mod support;

use std::{future::Future, time::Duration};

pub use self::{atomicity::*, catalog::*, conditions::*, keys::*, reopen::*, round_trip::*};
use super::BlobStore;

/// Generates a module of tests of the contract of [`BlobStore`](crate::BlobStore).
///
/// The first argument is the name of the module. The second is a closure, called once for each test, whose future
/// returns an empty store and a guard that must live as long as the store, such as a temporary directory.
///
/// Every test is an ordinary `#[test]` with its own Tokio runtime. [`store::conformance`](crate::store::conformance)
/// documents the cases. Attributes before the name apply to every test, for example `#[ignore = "needs a cluster"]`.
///
/// ```
/// use kazoo_storage::MemoryStore;
///
/// kazoo_storage::conformance_tests!(memory, || async { (MemoryStore::new(), ()) });
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])* $name:ident, $make:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_tests! { @cases [$(#[$attribute])*] $make;
                returns_the_content_byte_for_byte
                stores_an_empty_file
                stores_a_large_body_in_chunks_of_any_size
                stores_a_body_that_arrives_byte_by_byte
                treats_a_declared_length_as_a_hint
                reports_a_missing_key_as_not_found
                keeps_the_content_type
                keeps_metadata_byte_for_byte
                describes_a_file_with_its_metadata
                returns_the_bytes_of_a_range
                refuses_an_unsatisfiable_range
                dates_a_file_by_its_upload
                passes_a_check_and_leaves_nothing_behind
                stores_nothing_if_the_body_fails
                keeps_the_old_file_if_the_body_fails
                stores_nothing_if_an_upload_is_dropped
                keeps_the_old_file_if_an_upload_is_dropped
                hides_an_upload_until_its_body_ends
                replaces_content_type_and_metadata_with_the_content
                changes_the_etag_with_the_content
                never_gives_two_contents_one_etag
                stores_one_of_several_concurrent_creations
                stores_one_of_several_concurrent_updates
                checks_a_condition_at_the_commit
                changes_nothing_if_a_condition_fails
                accepts_concurrent_uploads_of_one_key_and_keeps_one_whole
                accepts_concurrent_uploads_of_different_keys
                returns_one_whole_file_while_it_is_replaced
                returns_the_old_content_to_a_reader_that_began_before
                stores_or_refuses_every_name
                stores_different_keys_as_different_files
                stores_a_key_beneath_another_one
            }
        }
    };
    (@cases $attributes:tt $make:expr; $($case:ident)*) => {
        $( $crate::conformance_tests! { @case $attributes $make; $case } )*
    };
    (@case [$($attribute:tt)*] $make:expr; $case:ident) => {
        $($attribute)*
        #[test]
        fn $case() {
            $crate::store::conformance::run($make, $crate::store::conformance::$case);
        }
    };
}

/// Generates a module of tests of the contract of [`BlobCatalog`](crate::BlobCatalog), with the arguments of
/// [`conformance_tests!`](crate::conformance_tests).
///
/// ```
/// use kazoo_storage::MemoryStore;
///
/// kazoo_storage::catalog_conformance_tests!(memory_catalog, || async { (MemoryStore::new(), ()) });
/// ```
#[macro_export]
macro_rules! catalog_conformance_tests {
    ($(#[$attribute:meta])* $name:ident, $make:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::conformance_tests! { @cases [$(#[$attribute])*] $make;
                lists_every_file_beneath_its_prefixes
                lists_the_length_of_a_file
                lists_the_modification_time_of_a_file
                does_not_list_an_upload_until_its_body_ends
                does_not_list_files_of_a_check
                lists_and_deletes_a_file_and_files_beneath_it_separately
                deletes_a_file_with_its_metadata
                lets_a_reader_finish_a_deleted_file_or_fail
            }
        }
    };
}

/// Generates a module of tests of the durability of a [`BlobStore`](crate::BlobStore): stored files are there when the
/// store is dropped and opened again, and failed uploads are not.
///
/// The first argument is the name of the module. The second is a closure, called once for each test, that returns an
/// empty place for a store, such as a temporary directory. The third is an async closure that opens a store in a place.
///
#[cfg_attr(all(feature = "fs", unix), doc = "```")]
#[cfg_attr(not(all(feature = "fs", unix)), doc = "```ignore")]
/// use kazoo_storage::FsStore;
/// use tempfile::{TempDir, tempdir};
///
/// kazoo_storage::reopen_conformance_tests!(
///     files_reopened,
///     || tempdir().unwrap(),
///     async |root: &TempDir| FsStore::open(root.path()).unwrap(),
/// );
/// ```
///
/// The tests do not simulate a crash: what is only in the cache of the operating system passes them.
#[macro_export]
macro_rules! reopen_conformance_tests {
    ($(#[$attribute:meta])* $name:ident, $place:expr, $open:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::reopen_conformance_tests! { @cases [$(#[$attribute])*] $place, $open;
                keeps_files_when_it_is_opened_again
                keeps_replacements_when_it_is_opened_again
                keeps_nothing_of_a_failed_upload_when_it_is_opened_again
            }
        }
    };
    (@cases $attributes:tt $place:expr, $open:expr; $($case:ident)*) => {
        $( $crate::reopen_conformance_tests! { @case $attributes $place, $open; $case } )*
    };
    (@case [$($attribute:tt)*] $place:expr, $open:expr; $case:ident) => {
        $($attribute)*
        #[test]
        fn $case() {
            let (place, open) = ($place(), $open);
            $crate::store::conformance::run_reopening(async || {
                $crate::store::conformance::$case(async || open(&place).await).await;
            });
        }
    };
}

/// Generates a module of tests of the durability of a [`BlobCatalog`](crate::BlobCatalog), with the arguments of
/// [`reopen_conformance_tests!`](crate::reopen_conformance_tests): listings have the same files when the store is dropped
/// and opened again, and deleted files stay deleted.
///
#[cfg_attr(all(feature = "fs", unix), doc = "```")]
#[cfg_attr(not(all(feature = "fs", unix)), doc = "```ignore")]
/// use kazoo_storage::FsStore;
/// use tempfile::{TempDir, tempdir};
///
/// kazoo_storage::catalog_reopen_conformance_tests!(
///     file_catalog_reopened,
///     || tempdir().unwrap(),
///     async |root: &TempDir| FsStore::open(root.path()).unwrap(),
/// );
/// ```
#[macro_export]
macro_rules! catalog_reopen_conformance_tests {
    ($(#[$attribute:meta])* $name:ident, $place:expr, $open:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::reopen_conformance_tests! { @cases [$(#[$attribute])*] $place, $open;
                lists_the_same_files_when_it_is_opened_again
                keeps_deletions_when_it_is_opened_again
            }
        }
    };
}

/// The time after which a case counts as hanging.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Runs one case on the store that `make` creates, in a new runtime.
#[doc(hidden)]
pub fn run<S, G, Made, Case>(make: impl FnOnce() -> Made, case: impl FnOnce(S) -> Case)
where
    S: BlobStore,
    Made: Future<Output = (S, G)>,
    Case: Future<Output = ()>,
{
    run_reopening(async || {
        let (store, _guard) = make().await;
        case(store).await;
    });
}

/// Runs one case in a new runtime.
#[doc(hidden)]
pub fn run_reopening(case: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a Tokio runtime");
    runtime.block_on(async {
        tokio::time::timeout(TIMEOUT, case())
            .await
            .expect("no call on a store hangs: the case has taken two minutes");
    });
}
