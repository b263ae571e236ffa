//! [`KazooStorage`]: the whole road in one builder.

mod mount;
mod service;
mod settings;

use std::{fmt, sync::Arc};

use tower::util::option_layer;
use tower_layer::Layer as _;

pub use self::{
    mount::{Mount, MountFuture, MountService},
    service::StorageService,
    settings::{Fields, KazooSettings, SettingsKey},
};
use crate::{
    answer_probe::AnswerProbe,
    authorize::{Authorize, Authorizer, DynAuthorizer},
    decode_base64::{Base64, DecodeBase64},
    extract_key::{ExtractKey, KeyExtractor, PathKey},
    limit_body::LimitBody,
    observe::{Events, Observe},
    serve::ServeBlobs,
    split_multipart::SplitMultipart,
    store::{BlobStore, DynBlobStore},
};

/// Builds KAZOO's storage backend around a [`BlobStore`].
///
/// Without an option set it serves every KAZOO since 4.0 with the default key (a path), raw or multipart, encoded or
/// not:
///
/// ```
/// use kazoo_storage::{KazooStorage, MemoryStore};
///
/// let storage = KazooStorage::new(MemoryStore::new()).into_service();
/// let app: axum::Router = axum::Router::new().nest_service("/some_prefix", storage);
/// # let _ = app;
/// ```
///
/// The layers stand in this order, outermost first: [`Observe`], [`LimitBody`], [`Authorize`], [`ExtractKey`], [`SplitMultipart`],
/// [`DecodeBase64`], [`AnswerProbe`], and [`ServeBlobs`] at the end. An extractor that
/// [reads the metadata](KeyExtractor::reads_metadata) is asked behind [`SplitMultipart`].
#[derive(Clone)]
pub struct KazooStorage {
    store: DynBlobStore,
    key: Arc<dyn KeyExtractor>,
    base64: Base64,
    max_body: u64,
    max_metadata: usize,
    authorizer: Option<DynAuthorizer>,
    events: Option<Arc<dyn Events>>,
}

impl KazooStorage {
    /// How long a request's body may be by default: 1 GiB.
    pub const DEFAULT_MAX_BODY: u64 = 1 << 30;

    /// Serves the files of `store`, with every option at its default.
    pub fn new(store: impl BlobStore) -> Self {
        Self {
            store: DynBlobStore::new(store),
            key: Arc::new(PathKey),
            base64: Base64::default(),
            max_body: Self::DEFAULT_MAX_BODY,
            max_metadata: SplitMultipart::DEFAULT_MAX_METADATA,
            authorizer: None,
            events: None,
        }
    }

    /// Serves what KAZOO sends by these `settings`, and no more than that: base64 is declared and not detected.
    pub fn from_settings(store: impl BlobStore, settings: &KazooSettings) -> Self {
        Self::new(store).key(settings.key().clone()).base64(settings.base64())
    }

    /// Finds the key of a request by `extractor`; by default [`PathKey`].
    #[must_use]
    pub fn key(mut self, extractor: impl KeyExtractor) -> Self {
        self.key = Arc::new(extractor);
        self
    }

    /// Tells base64 from plain media by `mode`; by default [`Base64::Detect`].
    #[must_use]
    pub fn base64(mut self, mode: Base64) -> Self {
        self.base64 = mode;
        self
    }

    /// Answers a request whose body has more than `bytes` with 413; by default
    /// [`DEFAULT_MAX_BODY`](Self::DEFAULT_MAX_BODY). The body is counted as it comes, multipart and base64 included.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Answers a multipart upload whose JSON part has more than `bytes` with 413; by default 1 MiB.
    #[must_use]
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.max_metadata = bytes;
        self
    }

    /// Lets in what `authorizer` lets in, such as [`AccessRules`](crate::AccessRules); by default everyone.
    #[must_use]
    pub fn authorize(mut self, authorizer: impl Authorizer) -> Self {
        self.authorizer = Some(DynAuthorizer::new(authorizer));
        self
    }

    /// Tells `events` what becomes of each request.
    #[must_use]
    pub fn observe(mut self, events: impl Events) -> Self {
        self.events = Some(Arc::new(events));
        self
    }

    /// The service, for `nest_service` and wherever the prefix is stripped already.
    ///
    /// The key is extracted from the request's path as the service sees it.
    #[must_use]
    pub fn into_service(self) -> StorageService {
        let store = self.store.clone();
        let check = move || {
            let store = store.clone();
            async move { store.check().await }
        };
        let limit = LimitBody::new(self.max_body);
        let extract = ExtractKey::shared(self.key.clone());
        let split = SplitMultipart::new().max_metadata(self.max_metadata);
        let decode = DecodeBase64::new(self.base64);
        let end = AnswerProbe::new(check).layer(ServeBlobs::new(self.store));
        let end = decode.layer(end);
        let observe = self.events.map(Observe::shared);
        let authorize = option_layer(self.authorizer.map(Authorize::new));
        if self.key.reads_metadata() {
            StorageService::new(limit.layer(authorize.layer(split.layer(extract.layer(end)))), observe)
        } else {
            StorageService::new(limit.layer(authorize.layer(extract.layer(split.layer(end)))), observe)
        }
    }

    /// A layer that serves the requests under `prefix`, and leaves every other to the service behind it.
    ///
    /// `prefix` is compared as it stands in the request's path, with or without a slash at its end. With `/` every
    /// request is served.
    ///
    /// ```
    /// use http::{Request, Response, StatusCode};
    /// use kazoo_storage::{Body, KazooStorage, MemoryStore};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let service = ServiceBuilder::new()
    ///     .layer(KazooStorage::new(MemoryStore::new()).mount("/some_prefix"))
    ///     .service(service_fn(async |_: Request<Body>| {
    ///         Ok::<_, std::convert::Infallible>(Response::new(Body::from("the rest of the application")))
    ///     }));
    /// let status = async |path| {
    ///     let request = Request::put(path).body(Body::empty()).unwrap();
    ///     service.clone().oneshot(request).await.unwrap().status()
    /// };
    /// assert_eq!(status("/some_prefix/ACC/DOC/ATT.mp3").await, StatusCode::CREATED);
    /// assert_eq!(status("/some_prefix_of_another/ACC").await, StatusCode::OK);
    /// # });
    /// ```
    #[must_use]
    pub fn mount(self, prefix: &str) -> Mount {
        Mount::new(self.into_service(), prefix)
    }
}

impl fmt::Debug for KazooStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KazooStorage")
            .field("base64", &self.base64)
            .field("max_body", &self.max_body)
            .field("max_metadata", &self.max_metadata)
            .finish_non_exhaustive()
    }
}
