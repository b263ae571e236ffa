//! Stores that each break one sentence of the contract: the suite must say which.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, Fetched, MemoryStore, Metadata, Result,
    Stored, Upload,
    digest::Digest,
    store::{
        Precondition,
        conformance::{self, run},
    },
};

/// A `MemoryStore` with one fault.
struct Broken {
    inner: MemoryStore,
    fault: Fault,
    /// How often somebody asked for metadata.
    asked: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    CommitsOnError,
    CommitsWhenDropped,
    EmptiesFirst,
    KeepsOldMetadata,
    ForgetsTheType,
    StoresInTwoSteps,
    ReformatsMetadata,
    FlattensKeys,
    IgnoresRanges,
    OneEtagForAll,
    RefusesASecondUpload,
    AlwaysCreated,
    LosesTheLastByte,
    FailsItsCheck,
    NotFoundIsInternal,
    IgnoresConditions,
    ChecksBeforeTheBody,
    StoresWhatItRefuses,
    TagsContentWithMetadata,
    Hides(&'static str),
}

impl Broken {
    fn key(&self, key: &BlobKey) -> BlobKey {
        if self.fault == Fault::FlattensKeys {
            let flat = key.segments().collect::<Vec<_>>().join("/");
            return BlobKey::from_segments([&flat[..flat.len().min(1000)]]).unwrap();
        }
        key.clone()
    }
}

/// Reads what there is, and how it ended.
async fn drain(mut body: Body) -> (Bytes, Option<Error>) {
    let mut content = BytesMut::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => content.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Some(Err(error)) => return (content.freeze(), Some(error)),
            None => return (content.freeze(), None),
        }
    }
}

impl BlobStore for Broken {
    async fn put(&self, mut upload: Upload) -> Result<Stored> {
        upload.key = self.key(&upload.key);
        let key = upload.key.clone();
        match self.fault {
            Fault::CommitsOnError => {
                let (content, error) = drain(upload.body).await;
                upload.body = content.into();
                let stored = self.inner.put(upload).await;
                return error.map_or(stored, Err);
            }
            Fault::CommitsWhenDropped => {
                // As if every chunk were written to its final place.
                let mut content = BytesMut::new();
                while let Some(frame) = upload.body.frame().await {
                    content.extend_from_slice(&frame?.into_data().unwrap_or_default());
                    let so_far = content.clone().freeze();
                    self.inner.put(Upload::new(key.clone(), so_far)).await?;
                }
                upload.body = content.freeze().into();
            }
            Fault::EmptiesFirst => {
                self.inner.put(Upload::new(key, Body::empty())).await?;
            }
            Fault::KeepsOldMetadata if upload.metadata.is_none() => {
                upload.metadata = self.inner.metadata(&key).await.ok().flatten();
            }
            Fault::ForgetsTheType => upload.content_type = None,
            Fault::StoresInTwoSteps => {
                let (content, error) = drain(upload.body).await;
                if let Some(error) = error {
                    return Err(error);
                }
                let mut first = Upload::new(key, content.clone());
                first.content_type = upload.content_type.clone();
                if let Ok(old) = self.inner.metadata(&first.key).await {
                    first.metadata = old;
                }
                self.inner.put(first).await?;
                // Long enough for one of three readers to come by three times, if there are readers.
                let seen = self.asked.load(Ordering::Relaxed);
                for _ in 0..100_000 {
                    if self.asked.load(Ordering::Relaxed) > seen + 7 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                upload.body = content.into();
            }
            Fault::ReformatsMetadata => {
                upload.metadata = upload.metadata.map(|metadata| {
                    let text = serde_json::to_string(&metadata.to_map()).unwrap();
                    Metadata::from_json(text).unwrap()
                });
            }
            Fault::IgnoresConditions => upload.precondition = Precondition::default(),
            Fault::ChecksBeforeTheBody => {
                let current = self.inner.head(&key).await.ok();
                upload.precondition.check(current.as_ref())?;
                upload.precondition = Precondition::default();
            }
            Fault::StoresWhatItRefuses => {
                let current = self.inner.head(&key).await.ok();
                let checked = upload.precondition.check(current.as_ref());
                upload.precondition = Precondition::default();
                return self.inner.put(upload).await.and_then(|stored| checked.map(|()| stored));
            }
            Fault::RefusesASecondUpload if self.inner.head(&key).await.is_ok() => {
                return Err(Error::new(ErrorKind::Conflict, "there is one already"));
            }
            Fault::LosesTheLastByte => {
                let (content, error) = drain(upload.body).await;
                if let Some(error) = error {
                    return Err(error);
                }
                upload.body = content.slice(..content.len().saturating_sub(1)).into();
            }
            _ => {}
        }
        let stored = self.inner.put(upload).await?;
        Ok(if self.fault == Fault::AlwaysCreated {
            Stored::Created
        } else {
            stored
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<Fetched> {
        let range = range.filter(|_| self.fault != Fault::IgnoresRanges);
        let fetched = self.inner.get(&self.key(key), range).await;
        match fetched {
            Err(error) if self.fault == Fault::NotFoundIsInternal && error.is_not_found() => {
                Err(Error::new(ErrorKind::Internal, "what?"))
            }
            Ok(Fetched::Blob(Blob {
                mut info, range, body, ..
            })) => {
                if self.fault == Fault::OneEtagForAll {
                    info.etag = Some(http::HeaderValue::from_static("\"1\""));
                }
                if self.fault == Fault::TagsContentWithMetadata {
                    let whole = self.inner.get(key, None).await?.into_blob().unwrap();
                    let (content, _) = drain(whole.body).await;
                    let json = self
                        .inner
                        .metadata(key)
                        .await?
                        .map(|metadata| metadata.as_json().to_vec());
                    let tag = Digest::of(&[&content[..], &json.unwrap_or_default()].concat());
                    info.etag = http::HeaderValue::try_from(format!("\"{tag}\"")).ok();
                }
                Ok(Fetched::Blob(Blob::partial(info, range, body)))
            }
            fetched => fetched,
        }
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        if self.fault == Fault::Hides("head") {
            return Err(Error::new(ErrorKind::NotFound, "not me"));
        }
        match self.get(key, None).await? {
            Fetched::Blob(blob) => Ok(blob.info),
            Fetched::Redirect(_) => unreachable!(),
        }
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.fault == Fault::Hides("missing metadata") {
            return Ok(self.inner.metadata(key).await.unwrap_or_default());
        }
        self.inner.metadata(&self.key(key)).await
    }

    async fn check(&self) -> Result<()> {
        if self.fault == Fault::FailsItsCheck {
            return Err(Error::new(ErrorKind::Unavailable, "never ready"));
        }
        self.inner.check().await
    }
}

/// The message that `case` panics with on a store with this fault; none if it passes.
fn verdict<Case: Future<Output = ()>>(fault: Fault, case: impl FnOnce(Broken) -> Case) -> String {
    let inner = MemoryStore::new();
    let asked = AtomicUsize::new(0);
    let make = || async { (Broken { inner, fault, asked }, ()) };
    let result = catch_unwind(AssertUnwindSafe(|| run(make, case)));
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
    commits_on_error: Fault::CommitsOnError, an_error_in_the_body_stores_nothing, "stores nothing";
    replaces_on_error: Fault::CommitsOnError, an_error_in_the_body_keeps_what_was_stored, "as it was: the content is another";
    empties_first: Fault::EmptiesFirst, an_error_in_the_body_keeps_what_was_stored, "leaves what was stored as it was";
    commits_when_dropped: Fault::CommitsWhenDropped, a_dropped_upload_stores_nothing, "a dropped upload stores nothing";
    replaces_when_dropped: Fault::CommitsWhenDropped, a_dropped_upload_keeps_what_was_stored, "a dropped upload leaves what was stored";
    keeps_old_metadata: Fault::KeepsOldMetadata, an_upload_replaces_all_of_the_old_file, "the old metadata is left";
    forgets_the_type: Fault::ForgetsTheType, the_content_type_is_kept, "a file keeps the content type";
    stores_in_two_steps: Fault::StoresInTwoSteps, a_reader_never_sees_a_mixture_or_a_gap, "a reader never sees";
    writes_in_place: Fault::CommitsWhenDropped, an_upload_under_way_is_invisible, "shows nothing of itself";
    reformats_metadata: Fault::ReformatsMetadata, metadata_is_kept_byte_for_byte, "metadata is kept byte for byte";
    flattens_keys: Fault::FlattensKeys, different_keys_are_different_files, "different keys are different files";
    ignores_ranges: Fault::IgnoresRanges, a_range_is_those_bytes, "which bytes";
    ignores_bad_ranges: Fault::IgnoresRanges, a_range_without_a_byte_is_refused, "no byte in";
    one_etag_for_all: Fault::OneEtagForAll, an_etag_changes_with_the_content, "an entity tag differs";
    refuses_a_second_upload: Fault::RefusesASecondUpload, concurrent_uploads_of_one_key_all_succeed_and_one_wins_whole, "all succeed";
    always_created: Fault::AlwaysCreated, an_upload_replaces_all_of_the_old_file, "whether a file gave way";
    loses_the_last_byte: Fault::LosesTheLastByte, a_body_byte_by_byte_comes_back, "comes back";
    fails_its_check: Fault::FailsItsCheck, a_check_leaves_nothing_behind, "passes its check";
    not_found_is_internal: Fault::NotFoundIsInternal, a_missing_key_is_not_found, "`get` failed otherwise";
    ignores_a_condition: Fault::IgnoresConditions, an_upload_whose_condition_fails_changes_nothing, "whose condition fails is refused";
    ignores_the_condition_of_creations: Fault::IgnoresConditions, one_of_several_creations_is_stored, "whose condition fails is refused";
    checks_creations_before_the_body: Fault::ChecksBeforeTheBody, one_of_several_creations_is_stored, "exactly one is stored: there are two";
    checks_updates_before_the_body: Fault::ChecksBeforeTheBody, one_of_several_updates_is_stored, "exactly one is stored: there are two";
    checks_before_the_body: Fault::ChecksBeforeTheBody, a_condition_is_checked_at_the_commit, "a condition is checked when the upload is committed";
    stores_what_it_refuses: Fault::StoresWhatItRefuses, an_upload_whose_condition_fails_changes_nothing, "changes nothing";
    tags_content_with_metadata: Fault::TagsContentWithMetadata, two_contents_never_share_a_tag, "two contents never share an entity tag";
    hides_from_head: Fault::Hides("head"), a_body_comes_back_byte_for_byte, "`head` finds a stored file";
    finds_metadata_of_nothing: Fault::Hides("missing metadata"), a_missing_key_is_not_found, "`metadata` found something";
}
