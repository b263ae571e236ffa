//! Stores that each violate one sentence of the contract, which the suite must report.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt as _};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobCatalog, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, Fetched, MemoryStore, Metadata,
    Result, Stored, Upload,
    digest::Digest,
    store::{
        BlobEntry, Precondition,
        conformance::{self, run},
    },
};

/// A `MemoryStore` with one fault.
struct Broken {
    inner: MemoryStore,
    fault: Fault,
    /// The number of calls of `metadata`.
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
    ListsNoLengths,
    ListsOldTimes,
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

/// Reads the body, and returns its bytes and its error.
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
                // As if every chunk were written to its final path.
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
                // Waits until one of three readers has read three times, if there are readers.
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
                return Err(Error::new(ErrorKind::Conflict, "the file exists"));
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
                Err(Error::new(ErrorKind::Internal, "an unexpected error"))
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
            return Err(Error::new(ErrorKind::NotFound, "hidden"));
        }
        Ok(self.get(key, None).await?.into_blob().unwrap().info)
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

impl BlobCatalog for Broken {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let fault = self.fault;
        self.inner.list(prefix).map_ok(move |mut entry| {
            if fault == Fault::ListsNoLengths {
                entry.len = 0;
            }
            if fault == Fault::ListsOldTimes {
                entry.modified = Some(SystemTime::UNIX_EPOCH);
            }
            entry
        })
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        self.inner.delete(key).await
    }
}

/// Returns the panic message of `case` on a store with this fault, or `passed`.
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
    commits_on_error: Fault::CommitsOnError, stores_nothing_if_the_body_fails, "stores nothing";
    replaces_on_error: Fault::CommitsOnError, keeps_the_old_file_if_the_body_fails, "unchanged: the content differs";
    empties_first: Fault::EmptiesFirst, keeps_the_old_file_if_the_body_fails, "leaves the stored file unchanged";
    commits_when_dropped: Fault::CommitsWhenDropped, stores_nothing_if_an_upload_is_dropped, "a dropped upload stores nothing";
    replaces_when_dropped: Fault::CommitsWhenDropped, keeps_the_old_file_if_an_upload_is_dropped, "a dropped upload leaves the stored file";
    keeps_old_metadata: Fault::KeepsOldMetadata, replaces_content_type_and_metadata_with_the_content, "the old metadata remains";
    forgets_the_type: Fault::ForgetsTheType, keeps_the_content_type, "a file keeps the content type";
    stores_in_two_steps: Fault::StoresInTwoSteps, returns_one_whole_file_while_it_is_replaced, "a reader never sees";
    writes_in_place: Fault::CommitsWhenDropped, hides_an_upload_until_its_body_ends, "is invisible";
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
    finds_metadata_of_nothing: Fault::Hides("missing metadata"), reports_a_missing_key_as_not_found, "`metadata` found something";
}
