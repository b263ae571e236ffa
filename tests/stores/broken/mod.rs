//! Stores that each violate one sentence of the contract, which the suite must report.

mod reopened;
mod store;

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
};

use kazoo_storage::store::conformance::{self, run, run_reopening};

use self::{
    reopened::{Loss, Place, Reopened},
    store::{Broken, Fault},
};

/// Returns the panic message of `case` on a store with this fault, or `passed`.
fn verdict<Case: Future<Output = ()>>(fault: Fault, case: impl FnOnce(Broken) -> Case) -> String {
    panic_of(|| run(|| async { (Broken::new(fault), ()) }, case))
}

fn panic_of(run: impl FnOnce()) -> String {
    let result = catch_unwind(AssertUnwindSafe(run));
    let text = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    };
    result.map_or_else(text, |()| "passed".to_owned())
}

macro_rules! caught {
    ($($test:ident: $fault:expr, $case:ident, $sentence:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let verdict = verdict($fault, conformance::$case);
                assert!(verdict.contains($sentence), "{verdict}");
            }
        )*
    };
}

caught! {
    commits_on_error: Fault::CommitsOnError, stores_nothing_if_the_body_fails, "stores nothing";
    replaces_on_error: Fault::CommitsOnError, keeps_the_old_file_if_the_body_fails, "unchanged: the content differs";
    empties_first: Fault::EmptiesFirst, keeps_the_old_file_if_the_body_fails, "leaves the stored file unchanged";
    commits_when_dropped: Fault::CommitsWhenDropped, stores_nothing_if_an_upload_is_dropped, "a dropped upload stores nothing";
    replaces_when_dropped: Fault::CommitsWhenDropped, keeps_the_old_file_if_an_upload_is_dropped, "a dropped upload leaves the stored file";
    keeps_old_metadata: Fault::KeepsOldMetadata, replaces_content_type_and_metadata_with_the_content, "the old metadata remains";
    forgets_the_type: Fault::ForgetsTheType, keeps_the_content_type, "a file keeps the content type";
    stores_in_two_steps: Fault::StoresInTwoSteps, returns_one_whole_file_while_it_is_replaced, "a reader never sees";
    writes_in_place: Fault::CommitsWhenDropped, hides_an_upload_until_its_body_ends, "is invisible";
    describes_without_metadata: Fault::DescribesWithoutMetadata, describes_a_file_with_its_metadata, "`describe` returns the metadata";
    describes_without_the_type: Fault::DescribesWithoutTheType, describes_a_file_with_its_metadata, "that `head` returns";
    reformats_metadata: Fault::ReformatsMetadata, keeps_metadata_byte_for_byte, "metadata is kept byte for byte";
    flattens_keys: Fault::FlattensKeys, stores_different_keys_as_different_files, "different keys are different files";
    ignores_ranges: Fault::IgnoresRanges, returns_the_bytes_of_a_range, "which bytes";
    ignores_bad_ranges: Fault::IgnoresRanges, refuses_an_unsatisfiable_range, "no byte in";
    one_etag_for_all: Fault::OneEtagForAll, changes_the_etag_with_the_content, "an entity tag differs";
    refuses_a_second_upload: Fault::RefusesASecondUpload, accepts_concurrent_uploads_of_one_key_and_keeps_one_whole, "all succeed";
    always_created: Fault::AlwaysCreated, replaces_content_type_and_metadata_with_the_content, "whether it replaced a file";
    loses_the_last_byte: Fault::LosesTheLastByte, stores_a_body_that_arrives_byte_by_byte, "is returned";
    fails_its_check: Fault::FailsItsCheck, passes_a_check_and_leaves_nothing_behind, "passes its check";
    not_found_is_internal: Fault::NotFoundIsInternal, reports_a_missing_key_as_not_found, "`get` failed with another error";
    ignores_a_condition: Fault::IgnoresConditions, changes_nothing_if_a_condition_fails, "whose condition fails is refused";
    ignores_the_condition_of_creations: Fault::IgnoresConditions, stores_one_of_several_concurrent_creations, "whose condition fails is refused";
    checks_creations_before_the_body: Fault::ChecksBeforeTheBody, stores_one_of_several_concurrent_creations, "exactly one is stored: there are two";
    checks_updates_before_the_body: Fault::ChecksBeforeTheBody, stores_one_of_several_concurrent_updates, "exactly one is stored: there are two";
    checks_before_the_body: Fault::ChecksBeforeTheBody, checks_a_condition_at_the_commit, "a condition is checked when the upload is committed";
    stores_what_it_refuses: Fault::StoresWhatItRefuses, changes_nothing_if_a_condition_fails, "changes nothing";
    tags_content_with_metadata: Fault::TagsContentWithMetadata, never_gives_two_contents_one_etag, "two contents never share an entity tag";
    lists_no_lengths: Fault::ListsNoLengths, lists_the_length_of_a_file, "has the length of its file";
    lists_old_times: Fault::ListsOldTimes, lists_the_modification_time_of_a_file, "has the modification time of its file";
    hides_from_head: Fault::Hides("head"), returns_the_content_byte_for_byte, "`head` finds a stored file";
    refuses_empty_files: Fault::RefusesEmptyFiles, stores_an_empty_file, "a whole upload";
    loses_the_last_byte_of_long_files: Fault::LosesTheLastByte, stores_a_large_body_in_chunks_of_any_size, "`BlobInfo::digest` is that of the content";
    pads_declared_lengths: Fault::PadsDeclaredLengths, treats_a_declared_length_as_a_hint, "bytes of declared length";
    fails_on_long_names: Fault::FailsOnLongNames, stores_or_refuses_every_name, "is `InvalidKey`";
    refuses_keys_beneath: Fault::RefusesKeysBeneath, stores_a_key_beneath_another_one, "are different files";
    stores_one_at_a_time: Fault::StoresOneAtATime, accepts_concurrent_uploads_of_different_keys, "concurrent uploads of different keys";
    mixes_contents: Fault::ReadsLazily, returns_the_old_content_to_a_reader_that_began_before, "reads the old content to its end";
    ends_early_after_a_deletion: Fault::ReadsLazily, lets_a_reader_finish_a_deleted_file_or_fail, "a body that ends cleanly";
    dates_from_1970: Fault::DatesFrom1970, dates_a_file_by_its_upload, "the time at which the file was stored";
    leaves_the_file_of_its_check: Fault::LeavesTheFileOfItsCheck, does_not_list_files_of_a_check, "a check leaves nothing behind";
    compares_prefixes_as_text: Fault::ComparesPrefixesAsText, lists_every_file_beneath_its_prefixes, "a prefix is whole segments";
    lists_early: Fault::CommitsWhenDropped, does_not_list_an_upload_until_its_body_ends, "that has not ended";
    deletes_all_beneath: Fault::DeletesAllBeneath, lists_and_deletes_a_file_and_files_beneath_it_separately, "a stored file can be fetched";
    fails_to_delete_twice: Fault::FailsToDeleteTwice, deletes_a_file_with_its_metadata, "and again";
    finds_metadata_of_nothing: Fault::Hides("missing metadata"), reports_a_missing_key_as_not_found, "`metadata` found something";
}

macro_rules! caught_reopening {
    ($($test:ident: $loss:expr, $case:ident, $sentence:literal;)*) => {
        $(
            #[test]
            fn $test() {
                let place = Place::default();
                let open = async || Reopened::open(&place, $loss).await;
                let verdict = panic_of(|| run_reopening(async || conformance::$case(open).await));
                assert!(verdict.contains($sentence), "{verdict}");
            }
        )*
    };
}

caught_reopening! {
    loses_everything: Loss::Everything, keeps_files_when_it_is_opened_again, "a stored file can be fetched";
    loses_metadata: Loss::Metadata, keeps_files_when_it_is_opened_again, "opened again: the metadata differs";
    loses_dates: Loss::Dates, keeps_files_when_it_is_opened_again, "its description differs";
    loses_replacements: Loss::Replacements, keeps_replacements_when_it_is_opened_again, "is the new one";
    keeps_failed_uploads: Loss::KeepsFailedUploads, keeps_nothing_of_a_failed_upload_when_it_is_opened_again, "has changed nothing";
    loses_its_listing: Loss::Listing, lists_the_same_files_when_it_is_opened_again, "a file is listed when";
    loses_deletions: Loss::Deletions, keeps_deletions_when_it_is_opened_again, "a deleted file does not exist when";
}

#[test]
fn every_case_has_a_store_that_fails_it() {
    let listed = include_str!("mod.rs");
    for case in super::cases() {
        assert!(
            listed.contains(&format!(", {case}, ")),
            "no broken store fails `{case}`"
        );
    }
}
