//! [`KazooStorage`]: the whole road in one builder.

mod mount;
mod service;

use std::{fmt, sync::Arc, time::Duration};

use tower::ServiceBuilder;

pub use self::{
    mount::{Mount, MountFuture, MountService},
    service::StorageService,
};
use crate::{
    answer_probe::AnswerProbe,
    authorize::{Authorize, Authorizer, DynAuthorizer},
    decode_base64::{Base64, DecodeBase64},
    extract_key::{ExtractKey, KeyExtractor, PathKey},
    limit_body::LimitBody,
    limit_concurrency::LimitConcurrency,
    observe::{Events, Observe},
    retry_after::RetryAfter,
    serve::ServeBlobs,
    settings::KazooSettings,
    split_multipart::SplitMultipart,
    store::{BlobStore, DynBlobStore},
    verify_digest::VerifyDigest,
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
/// The layers stand in this order, outermost first: [`Observe`], [`LimitBody`], [`Authorize`], [`ExtractKey`],
/// [`LimitConcurrency`], [`VerifyDigest`], [`SplitMultipart`], [`DecodeBase64`], [`AnswerProbe`], and [`ServeBlobs`] at the
/// end. An extractor that [reads the metadata](KeyExtractor::reads_metadata) is asked behind [`SplitMultipart`], and
/// [`LimitConcurrency`] behind it.
#[derive(Clone)]
pub struct KazooStorage {
    store: DynBlobStore,
    key: Arc<dyn KeyExtractor>,
    base64: Base64,
    max_body: u64,
    stall_timeout: Option<Duration>,
    max_metadata: usize,
    max_concurrent: usize,
    max_per_client: usize,
    retry_window: Duration,
    authorizer: Option<DynAuthorizer>,
    events: Option<Arc<dyn Events>>,
}

impl KazooStorage {
    /// How long a request's body may be by default: 1 GiB.
    pub const DEFAULT_MAX_BODY: u64 = 1 << 30;

    /// How many requests are answered at once by default: 2048.
    ///
    /// Each holds at most 256 KiB of its body.
    pub const DEFAULT_MAX_CONCURRENT: usize = 2048;

    /// The default limit of concurrent requests of one client: 512, a quarter of the total.
    pub const DEFAULT_MAX_PER_CLIENT: usize = 512;

    /// Serves the files of `store`, with every option at its default.
    pub fn new(store: impl BlobStore) -> Self {
        Self {
            store: DynBlobStore::new(store),
            key: Arc::new(PathKey),
            base64: Base64::default(),
            max_body: Self::DEFAULT_MAX_BODY,
            stall_timeout: None,
            max_metadata: SplitMultipart::DEFAULT_MAX_METADATA,
            max_concurrent: Self::DEFAULT_MAX_CONCURRENT,
            max_per_client: Self::DEFAULT_MAX_PER_CLIENT,
            retry_window: RetryAfter::DEFAULT_WINDOW,
            authorizer: None,
            events: None,
        }
    }

    /// Serves what KAZOO sends by these `settings`, and no more than that: base64 is taken from the settings.
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

    /// Answers a request whose body delivers less than 1 KiB in `timeout`, or is too slow on average, with 408, and
    /// closes its connection; by default without limit. See [`LimitBody::stall_timeout`]; needs tokio's timers.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = Some(timeout);
        self
    }

    /// Answers a multipart upload whose JSON part has more than `bytes` with 413; by default 1 MiB.
    #[must_use]
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.max_metadata = bytes;
        self
    }

    /// Answers at most `requests` at once, and every other with 503 and a `Retry-After` of a second, on which KAZOO waits
    /// and repeats it; by default [`DEFAULT_MAX_CONCURRENT`](Self::DEFAULT_MAX_CONCURRENT). A request counts until its
    /// answer has gone out.
    ///
    /// With a key that [reads the metadata](KeyExtractor::reads_metadata), a multipart upload counts only after its JSON part
    /// has arrived. Until then no limit of requests applies, and it holds up to [`max_metadata`](Self::max_metadata) bytes.
    /// Limit the connections, or set a [`stall_timeout`](Self::stall_timeout) and a smaller `max_metadata`.
    #[must_use]
    pub fn max_concurrent(mut self, requests: usize) -> Self {
        self.max_concurrent = requests;
        self
    }

    /// Limits the concurrent requests of one client to `requests`; by default
    /// [`DEFAULT_MAX_PER_CLIENT`](Self::DEFAULT_MAX_PER_CLIENT).
    ///
    /// The client is the extension [`ClientAddr`](crate::client_addr::ClientAddr), or else [`PeerAddr`](crate::PeerAddr), which the code
    /// that accepts connections inserts. A request with neither counts only toward [`max_concurrent`](Self::max_concurrent).
    #[must_use]
    pub fn max_per_client(mut self, requests: usize) -> Self {
        self.max_per_client = requests;
        self
    }

    /// Answers a key that keeps failing, because of the store or of the limits, with `Retry-After` for at most `window`;
    /// by default an hour. After that it gets 503 alone, so that no process of KAZOO waits for ever.
    #[must_use]
    pub fn retry_window(mut self, window: Duration) -> Self {
        self.retry_window = window;
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
        let limit_body = LimitBody::new(self.max_body);
        let limit_body = match self.stall_timeout {
            Some(timeout) => limit_body.stall_timeout(timeout),
            None => limit_body,
        };
        let store = self.store.clone();
        let check = move || {
            let store = store.clone();
            async move { store.check().await }
        };
        let needs_metadata = self.key.reads_metadata();
        let admit = (
            ExtractKey::shared(self.key),
            LimitConcurrency::new(self.max_concurrent).per_client(self.max_per_client),
        );
        let (admit_by_head, admit_by_metadata) = if needs_metadata {
            (None, Some(admit))
        } else {
            (Some(admit), None)
        };

        StorageService::new(
            ServiceBuilder::new()
                .option_layer(self.events.map(Observe::shared))
                .layer(RetryAfter::new(self.retry_window))
                .layer(limit_body)
                .option_layer(self.authorizer.map(Authorize::new))
                .option_layer(admit_by_head)
                .layer(VerifyDigest::new())
                .layer(SplitMultipart::new().max_metadata(self.max_metadata))
                .option_layer(admit_by_metadata)
                .layer(DecodeBase64::new(self.base64))
                .layer(AnswerProbe::new(check))
                .service(ServeBlobs::new(self.store)),
        )
    }

    /// A layer that serves the requests under `prefix`, and leaves every other to the service behind it.
    ///
    /// `prefix` is compared segment by segment, in the form of [`normalize_path`]: the HTTP clients of Erlang releases
    /// spell a URL differently, and KAZOO reaches it with each. A path with an empty segment or a `..` in front of it does
    /// not match.
    /// With `/` every request is served.
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
            .field("stall_timeout", &self.stall_timeout)
            .field("max_metadata", &self.max_metadata)
            .field("max_concurrent", &self.max_concurrent)
            .field("max_per_client", &self.max_per_client)
            .finish_non_exhaustive()
    }
}
