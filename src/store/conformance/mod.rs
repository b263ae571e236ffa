//! The contracts of [`BlobStore`] and [`BlobCatalog`](super::BlobCatalog) as test suites:
//! [`conformance_tests!`](crate::conformance_tests) and
//! [`catalog_conformance_tests!`](crate::catalog_conformance_tests).
//!
//! Every case is a function here, and its documentation is the sentence of the contract that it holds a store to. A
//! case that fails panics with that sentence.
//!
//! ```
//! // In an integration test; `kazoo-storage` is a dev-dependency with the feature `conformance`.
//! use kazoo_storage::MemoryStore;
//!
//! kazoo_storage::conformance_tests!(memory, || async { (MemoryStore::new(), ()) });
//! ```

// A failed assertion is what this module is for.
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
mod keys;
mod round_trip;
mod support;

use std::{future::Future, time::Duration};

pub use self::{atomicity::*, catalog::*, conditions::*, keys::*, round_trip::*};
use super::BlobStore;

/// Makes a module of tests that hold a store to the contract of [`BlobStore`](crate::BlobStore).
///
/// The first argument is the module's name. The second is an expression, evaluated once for each test: a closure whose
/// future gives a tuple of a fresh, empty store and of anything that must live as long as it, such as a temporary
/// directory.
///
/// Every test is an ordinary `#[test]` with a Tokio runtime of its own; the cases are documented in
/// [`store::conformance`](crate::store::conformance). Attributes before the name are those of every test:
/// `#[ignore = "needs a cluster"]`, for example.
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
                a_body_comes_back_byte_for_byte
                an_empty_file_is_a_file
                a_large_body_in_odd_chunks_comes_back
                a_body_byte_by_byte_comes_back
                a_declared_length_changes_nothing
                a_missing_key_is_not_found
                the_content_type_is_kept
                metadata_is_kept_byte_for_byte
                a_range_is_those_bytes
                a_range_without_a_byte_is_refused
                a_check_leaves_nothing_behind
                an_error_in_the_body_stores_nothing
                an_error_in_the_body_keeps_what_was_stored
                a_dropped_upload_stores_nothing
                a_dropped_upload_keeps_what_was_stored
                an_upload_under_way_is_invisible
                an_upload_replaces_all_of_the_old_file
                an_etag_changes_with_the_content
                two_contents_never_share_a_tag
                one_of_several_creations_is_stored
                one_of_several_updates_is_stored
                a_condition_is_checked_at_the_commit
                an_upload_whose_condition_fails_changes_nothing
                concurrent_uploads_of_one_key_all_succeed_and_one_wins_whole
                concurrent_uploads_of_many_keys_do_not_meet
                a_reader_never_sees_a_mixture_or_a_gap
                a_slow_reader_is_not_given_the_new_file
                every_name_is_stored_as_it_is_or_refused
                different_keys_are_different_files
                a_key_beneath_another_is_stored_beside_it
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

/// Makes a module of tests that hold a store to the contract of [`BlobCatalog`](crate::BlobCatalog), as
/// [`conformance_tests!`](crate::conformance_tests) does for [`BlobStore`](crate::BlobStore).
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
                every_file_is_listed_beneath_its_prefixes
                an_entry_has_the_length_of_its_file
                an_entry_has_the_modification_time_of_its_file
                an_upload_under_way_is_not_listed
                a_file_and_files_beneath_it_are_listed_and_deleted_apart
                a_deleted_file_is_gone
                a_reader_of_a_deleted_file_is_not_deceived
            }
        }
    };
}

/// How long a case may take before it counts as one that hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs one case on a store that `make` makes, in a runtime of its own.
#[doc(hidden)]
pub fn run<S, G, Made, Case>(make: impl FnOnce() -> Made, case: impl FnOnce(S) -> Case)
where
    S: BlobStore,
    Made: Future<Output = (S, G)>,
    Case: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a Tokio runtime");
    runtime.block_on(async {
        let (store, _guard) = make().await;
        tokio::time::timeout(PATIENCE, case(store))
            .await
            .expect("no call on a store hangs: the case has taken two minutes");
    });
}
