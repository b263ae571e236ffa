//! An engine in memory that has one fault.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{
    FutureExt as _,
    stream::{self, BoxStream, StreamExt as _},
};
use http::Method;
use kazoo_storage::{Body, Error as StorageError, ErrorKind, digest::Digest};
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    UploadPart, memory::InMemory, path::Path, signer::Signer,
};
use tokio::sync::Notify;
use url::Url;

/// The fault of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Does not support conditions.
    NoConditions,
    /// Stores the first object, and the connection breaks before the response.
    LostAnswer,
    /// Never responds.
    Hangs,
    /// Fails to store the part with this number, from 1.
    PartFails(usize),
    /// Never responds to the part with this number.
    PartHangs(usize),
    CompleteFails,
    CompleteHangs,
    /// Reports a missing object as forbidden.
    DeniesWhatIsMissing,
    /// Reports the code only in a response with a body.
    NoBucket,
    /// Like `NoBucket`.
    RefusesName,
    /// Responds to a read, and never sends the body.
    BodyHangs,
    GivesLess,
    GivesMore,
    DropsAttributes,
    /// Reports an error for the deletion of a missing object, as Google's store does.
    DeletesOnlyWhatIsThere,
    /// Uses digests of the objects as entity tags, as S3 does.
    TagsAreDigests,
    /// Ignores conditions.
    IgnoresConditions,
    /// Stores another upload between the HEAD of an object and each conditional PUT.
    Rival,
    /// Like `LostAnswer`, but only for names of keys.
    LostAnswerToUpload,
    /// Stores an object with the name of a key, and never responds.
    StoresAndHangs,
    /// Its client retries a request whose response was lost, and returns the second response.
    Repeats,
    /// Replaces the object by `next`, if that exists, after each HEAD.
    ReplacedBehindHead,
    /// Continues a listing after an error.
    ListFails,
}

/// Clones share one engine.
#[derive(Clone, Debug)]
pub(crate) struct Faulty {
    fault: Fault,
    engine: Arc<InMemory>,
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: Mutex<Vec<&'static str>>,
    parts: AtomicUsize,
    aborted: Notify,
    hanging: Notify,
}

impl Faulty {
    pub(crate) fn new(fault: Fault) -> Self {
        Self {
            fault,
            engine: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Returns the calls since the last call of this method.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.seen.calls.lock().unwrap())
    }

    /// Returns the names of all objects.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let objects = self.engine.list(None);
        objects
            .map(|object| object.unwrap().location.to_string())
            .collect()
            .await
    }

    /// Waits until a multipart upload is aborted.
    pub(crate) async fn aborted(&self) {
        let timeout = Duration::from_secs(60);
        let aborted = tokio::time::timeout(timeout, self.seen.aborted.notified());
        aborted.await.expect("an upload in parts that ends early is aborted");
    }

    /// Waits until a part hangs.
    pub(crate) async fn hanging(&self) {
        self.seen.hanging.notified().await;
    }

    /// Returns the object with the digest of its bytes as its entity tag, and the tag of the engine.
    async fn tagged(&self, location: &Path) -> Result<(ObjectMeta, Attributes, Bytes, Option<String>)> {
        let found = self.engine.get(location).await?;
        let (mut meta, attributes) = (found.meta.clone(), found.attributes.clone());
        let content = found.bytes().await?;
        let e_tag = meta.e_tag.replace(format!("\"{}\"", Digest::of(&content)));
        Ok((meta, attributes, content, e_tag))
    }

    async fn get_tagged(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (meta, attributes, content, _) = self.tagged(location).await?;
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range.as_range(meta.size).map_err(|error| Error::Generic {
                store: "faulty",
                source: error.to_string().into(),
            })?,
            None => 0..meta.size,
        };
        let part = content.slice(usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap());
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter([Ok(part)]).boxed()),
            meta,
            range,
            attributes,
            extensions: http::Extensions::default(),
        })
    }

    async fn put_tagged(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        if let PutMode::Update(version) = &mut options.mode {
            let (meta, _, _, e_tag) = self.tagged(location).await?;
            if meta.e_tag != version.e_tag {
                return Err(Error::Precondition {
                    path: location.to_string(),
                    source: "another version".into(),
                });
            }
            version.e_tag = e_tag;
        }
        let digest = Digest::of(&payload.iter().flatten().copied().collect::<Vec<_>>());
        let mut result = self.engine.put_opts(location, payload, options).await?;
        result.e_tag = Some(format!("\"{digest}\""));
        Ok(result)
    }

    async fn called(&self, name: &'static str) {
        self.seen.calls.lock().unwrap().push(name);
        if self.fault == Fault::Hangs {
            pending::<()>().await;
        }
    }
}

impl Fault {
    /// Returns the response to a request with this fault. A response to a HEAD has no body.
    fn answer(self, head: bool) -> Result<()> {
        let body = |text: &'static str| if head { "" } else { text };
        match self {
            Self::NoBucket => Err(Error::NotFound {
                path: "object".to_owned(),
                source: body("<Error><Code>NoSuchBucket</Code></Error>").into(),
            }),
            Self::RefusesName => Err(Error::Generic {
                store: "faulty",
                source: body("400: <Error><Code>KeyTooLongError</Code></Error>").into(),
            }),
            _ => Ok(()),
        }
    }
}

fn broken() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the connection broke".into(),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, mut options: PutOptions) -> Result<PutResult> {
        self.called("put").await;
        self.fault.answer(false)?;
        match self.fault {
            Fault::NoConditions if options.mode == PutMode::Create => {
                return Err(Error::NotImplemented {
                    operation: "conditional put".into(),
                    implementer: self.to_string(),
                });
            }
            Fault::DropsAttributes => options.attributes = Attributes::new(),
            _ => {}
        }
        if self.fault == Fault::TagsAreDigests {
            return self.put_tagged(location, payload, options).await;
        }
        if self.fault == Fault::IgnoresConditions {
            options.mode = PutMode::Overwrite;
        }
        let is_rivalled = self.fault == Fault::Rival && options.mode != PutMode::Overwrite;
        if is_rivalled && !location.as_ref().starts_with('%') {
            self.engine.put(location, PutPayload::from_static(b"rival")).await?;
        }
        if self.fault == Fault::Repeats && !location.as_ref().starts_with('%') {
            let _ = self.engine.put_opts(location, payload.clone(), options.clone()).await;
        }
        let lost = match self.fault {
            Fault::LostAnswer => options.mode == PutMode::Create,
            Fault::LostAnswerToUpload => !location.as_ref().starts_with('%'),
            _ => false,
        };
        let stored = self.engine.put_opts(location, payload, options).await;
        if self.fault == Fault::StoresAndHangs && !location.as_ref().starts_with('%') {
            pending::<()>().await;
        }
        if lost { Err(broken()) } else { stored }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.called("begin").await;
        self.fault.answer(false)?;
        Ok(Box::new(InParts {
            fault: self.fault,
            seen: Arc::clone(&self.seen),
            upload: self.engine.put_multipart_opts(location, options).await?,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.called(if options.head { "head" } else { "get" }).await;
        self.fault.answer(options.head)?;
        let head = options.head;
        if self.fault == Fault::TagsAreDigests {
            return self.get_tagged(location, options).await;
        }
        let found = self.engine.get_opts(location, options).await;
        if head && self.fault == Fault::ReplacedBehindHead {
            let _ = self.engine.rename(&Path::from("next"), location).await;
        }
        let mut result = match found {
            Err(Error::NotFound { path, source }) if self.fault == Fault::DeniesWhatIsMissing => {
                return Err(Error::PermissionDenied { path, source });
            }
            result => result?,
        };
        let payload = std::mem::replace(&mut result.payload, GetResultPayload::Stream(stream::empty().boxed()));
        let GetResultPayload::Stream(content) = payload;
        let content = match self.fault {
            Fault::BodyHangs => stream::pending().boxed(),
            Fault::GivesLess => content.map(|chunk| chunk.map(|chunk| chunk.slice(1..))).boxed(),
            Fault::GivesMore => content.chain(stream::iter([Ok(Bytes::from("more"))])).boxed(),
            _ => content,
        };
        result.payload = GetResultPayload::Stream(content);
        Ok(result)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let deleted = async move {
            this.called("delete").await;
            if this.fault == Fault::DeletesOnlyWhatIsThere {
                let looked = locations.then({
                    let engine = Arc::clone(&this.engine);
                    move |location| {
                        let engine = Arc::clone(&engine);
                        async move { Ok(engine.head(&location?).await?.location) }
                    }
                });
                return this.engine.delete_stream(looked.boxed());
            }
            this.engine.delete_stream(locations)
        };
        deleted.into_stream().flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fault {
            Fault::Hangs => stream::pending().boxed(),
            Fault::ListFails => stream::iter([Err(Error::UnknownConfigurationKey {
                store: "",
                key: String::new(),
            })])
            .chain(self.engine.list(prefix))
            .boxed(),
            _ => self.engine.list(prefix),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.engine.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.engine.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct InParts {
    fault: Fault,
    seen: Arc<Seen>,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for InParts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let number = self.seen.parts.fetch_add(1, Ordering::Relaxed) + 1;
        if self.fault == Fault::PartFails(number) {
            return async { Err(broken()) }.boxed();
        }
        if self.fault == Fault::PartHangs(number) {
            self.seen.hanging.notify_one();
            return pending().boxed();
        }
        self.upload.put_part(data)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.fault {
            Fault::CompleteFails => return Err(broken()),
            Fault::CompleteHangs => pending().await,
            _ => {}
        }
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.seen.calls.lock().unwrap().push("abort");
        self.seen.aborted.notify_one();
        self.upload.abort().await
    }
}

/// Returns the name that it should sign as the URL.
#[derive(Debug)]
pub(crate) struct Signs;

#[async_trait]
impl Signer for Signs {
    async fn signed_url(&self, method: Method, path: &Path, expires_in: Duration) -> Result<Url> {
        Ok(Url::parse(&format!("http://engine/{path}?{method}&valid={}", expires_in.as_secs())).unwrap())
    }
}

/// Returns a body that fails after `len` bytes.
pub(crate) fn breaks_after(len: usize) -> Body {
    let broken = StorageError::new(ErrorKind::IncompleteBody, "the client hung up");
    Body::from_stream(stream::iter([Ok(vec![0; len]), Err(broken)]))
}

/// Returns a body of chunks of these lengths, with a pause before each.
pub(crate) fn slow(lens: Vec<usize>, pause: Duration) -> Body {
    Body::from_stream(stream::iter(lens).then(move |len| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, StorageError>(vec![0; len])
    }))
}
