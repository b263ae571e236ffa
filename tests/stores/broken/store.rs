//! [`Broken`]: a store with one fault.

use std::{
    io,
    ops::Range,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use futures_util::{
    TryStreamExt as _,
    stream::{self, Stream},
};
use http_body_util::BodyExt as _;
use kazoo_storage::{
    Blob, BlobCatalog, BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, GetResult, MemoryStore,
    Metadata, PutResult, Result, Upload,
    digest::Digest,
    store::{BlobEntry, Precondition},
};

/// A `MemoryStore` with one fault.
pub(super) struct Broken {
    inner: MemoryStore,
    fault: Fault,
    /// The number of calls of `metadata`.
    asked: AtomicUsize,
    /// `true` while an upload is running.
    busy: AtomicBool,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Fault {
    CommitsOnError,
    CommitsWhenDropped,
    EmptiesFirst,
    KeepsOldMetadata,
    DescribesWithoutMetadata,
    DescribesWithoutTheType,
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
    RefusesEmptyFiles,
    PadsDeclaredLengths,
    FailsOnLongNames,
    RefusesKeysBeneath,
    StoresOneAtATime,
    ReadsLazily,
    DatesFrom1970,
    LeavesTheFileOfItsCheck,
    ComparesPrefixesAsText,
    DeletesAllBeneath,
    FailsToDeleteTwice,
}

impl Broken {
    pub(super) fn new(fault: Fault) -> Self {
        Self {
            inner: MemoryStore::new(),
            fault,
            asked: AtomicUsize::default(),
            busy: AtomicBool::default(),
        }
    }

    fn key(&self, key: &BlobKey) -> BlobKey {
        if self.fault == Fault::FlattensKeys {
            let flat = key.segments().collect::<Vec<_>>().join("/");
            return BlobKey::from_segments([&flat[..flat.len().min(1000)]]).unwrap();
        }
        key.clone()
    }

    /// Refuses an upload that the contract demands to store.
    async fn refuse(&self, key: &BlobKey) -> Result<()> {
        match self.fault {
            Fault::RefusesASecondUpload if self.inner.head(key).await.is_ok() => {
                return Err(Error::new(ErrorKind::Conflict, "the file exists"));
            }
            Fault::FailsOnLongNames if key.segments().any(|segment| segment.len() > 255) => {
                return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
            }
            Fault::RefusesKeysBeneath => {
                let segments: Vec<_> = key.segments().collect();
                for len in 1..segments.len() {
                    let above = BlobKey::from_segments(&segments[..len])?;
                    if self.inner.head(&above).await.is_ok() {
                        return Err(Error::new(ErrorKind::Conflict, "the file exists"));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Reads the body, and returns its bytes and its error.
pub(super) async fn drain(mut body: Body) -> (Bytes, Option<Error>) {
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
    async fn put(&self, mut upload: Upload) -> Result<PutResult> {
        upload.key = self.key(&upload.key);
        let key = upload.key.clone();
        self.refuse(&key).await?;
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
                let content = upload.body.collect().await?.to_bytes();
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
            Fault::LosesTheLastByte => {
                let content = upload.body.collect().await?.to_bytes();
                upload.body = content.slice(..content.len().saturating_sub(1)).into();
            }
            Fault::RefusesEmptyFiles => {
                let content = upload.body.collect().await?.to_bytes();
                if content.is_empty() {
                    return Err(Error::new(ErrorKind::InvalidRequest, "the file is empty"));
                }
                upload.body = content.into();
            }
            Fault::PadsDeclaredLengths if upload.len.is_some() => {
                // As if blocks were reserved, and not released.
                let mut content = upload.body.collect().await?.to_bytes().to_vec();
                content.resize(content.len().next_multiple_of(4096), 0);
                upload.body = content.into();
            }
            Fault::StoresOneAtATime => {
                if self.busy.swap(true, Ordering::SeqCst) {
                    return Err(Error::new(ErrorKind::Unavailable, "another upload is running"));
                }
                let stored = self.inner.put(upload).await;
                self.busy.store(false, Ordering::SeqCst);
                return stored;
            }
            _ => {}
        }
        let stored = self.inner.put(upload).await?;
        Ok(if self.fault == Fault::AlwaysCreated {
            PutResult::Created
        } else {
            stored
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let range = range.filter(|_| self.fault != Fault::IgnoresRanges);
        let fetched = self.inner.get(&self.key(key), range).await;
        match fetched {
            Err(error) if self.fault == Fault::NotFoundIsInternal && error.is_not_found() => {
                Err(Error::new(ErrorKind::Internal, "an unexpected error"))
            }
            Ok(GetResult::Blob(Blob {
                mut info,
                range,
                mut body,
                ..
            })) => {
                if self.fault == Fault::ReadsLazily {
                    body = lazy(self.inner.clone(), key.clone(), range.clone());
                }
                if self.fault == Fault::DatesFrom1970 {
                    info.modified = Some(SystemTime::UNIX_EPOCH);
                }
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
                Ok(GetResult::Blob(Blob::partial(info, range, body)))
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

    async fn describe(&self, key: &BlobKey) -> Result<(BlobInfo, Option<Metadata>)> {
        let (info, metadata) = (self.head(key).await?, self.metadata(key).await?);
        Ok(match self.fault {
            Fault::DescribesWithoutMetadata => (info, None),
            Fault::DescribesWithoutTheType => (info.with_content_type(None), metadata),
            _ => (info, metadata),
        })
    }

    async fn check(&self) -> Result<()> {
        if self.fault == Fault::FailsItsCheck {
            return Err(Error::new(ErrorKind::Unavailable, "never ready"));
        }
        if self.fault == Fault::LeavesTheFileOfItsCheck {
            let key = BlobKey::from_path("check")?;
            self.inner.put(Upload::new(key, "check")).await?;
        }
        self.inner.check().await
    }
}

impl BlobCatalog for Broken {
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let fault = self.fault;
        let text = prefix
            .filter(|_| fault == Fault::ComparesPrefixesAsText)
            .map(ToString::to_string);
        let entries = self.inner.list(prefix.filter(|_| text.is_none()));
        let entries = entries.try_filter(move |entry| {
            let listed = text
                .as_ref()
                .is_none_or(|text| entry.key.to_string().starts_with(text.as_str()));
            std::future::ready(listed)
        });
        entries.map_ok(move |mut entry| {
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
        if self.fault == Fault::FailsToDeleteTwice {
            self.inner.head(key).await?;
        }
        if self.fault == Fault::DeletesAllBeneath {
            for entry in self.inner.list(Some(key)).try_collect::<Vec<_>>().await? {
                self.inner.delete(&entry.key).await?;
            }
        }
        self.inner.delete(key).await
    }
}

/// Returns a body that looks up the file again for each chunk.
fn lazy(store: MemoryStore, key: BlobKey, range: Range<u64>) -> Body {
    const CHUNK: u64 = 64 << 10;
    let chunks = stream::unfold(range.start, move |start| {
        let (store, key) = (store.clone(), key.clone());
        let last = range.end.min(start + CHUNK).saturating_sub(1);
        async move {
            let part = ByteRange::FromTo(start, last);
            let blob = store.get(&key, Some(part)).await.ok()?.into_blob()?;
            let chunk = blob.body.collect().await.ok()?.to_bytes();
            Some((Ok::<_, Error>(chunk), last + 1))
        }
    });
    Body::from_stream(chunks)
}
