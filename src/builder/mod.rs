//! Builds the complete service: [`KazooStorage`].

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
    authorize::{Authorize, Authorizer},
    decode_base64::{Base64, DecodeBase64},
    drain_body::DrainBody,
    extract_key::{ExtractKey, KeyExtractor, PathKey},
    limit_body::LimitBody,
    limit_concurrency::LimitConcurrency,
    observe::{Events, Observe},
    reject_ambiguous_framing::RejectAmbiguousFraming,
    reject_stalled_body::RejectStalledBody,
    retry_after::RetryAfter,
    serve::ServeBlobs,
    settings::KazooSettings,
    split_multipart::SplitMultipart,
    store::{BlobStore, DynBlobStore},
    verify_digest::VerifyDigest,
};

/// Builds KAZOO's storage backend around a [`BlobStore`].
///
/// With the default options it serves every KAZOO since 4.0 whose files are identified by their path. It accepts raw
/// and multipart uploads, with base64 or without:
///
/// ```
/// use kazoo_storage::{KazooStorage, MemoryStore};
///
/// let storage = KazooStorage::new(MemoryStore::new()).into_service();
/// let app: axum::Router = axum::Router::new().nest_service("/some_prefix", storage);
/// # let _ = app;
/// ```
///
/// The layers have this order, outermost first: [`Observe`], [`RetryAfter`], [`RejectStalledBody`], [`DrainBody`],
/// [`RejectAmbiguousFraming`], [`Authorize`], [`LimitBody`], [`ExtractKey`], [`LimitConcurrency`], [`VerifyDigest`],
/// [`SplitMultipart`], [`DecodeBase64`], [`AnswerProbe`]; [`ServeBlobs`] is innermost. If the extractor
/// [reads the metadata](KeyExtractor::reads_metadata), [`ExtractKey`] and [`LimitConcurrency`] are behind
/// [`SplitMultipart`]. With [`max_media`](Self::max_media), a second [`LimitBody`] is behind [`DecodeBase64`].
#[derive(Clone)]
pub struct KazooStorage {
    store: DynBlobStore,
    key: Arc<dyn KeyExtractor>,
    base64: Base64,
    max_body: u64,
    max_media: Option<u64>,
    stall_timeout: Option<Duration>,
    max_metadata: usize,
    max_concurrent: usize,
    max_per_client: usize,
    retry_window: Duration,
    authorize: Option<Authorize>,
    observe: Option<Observe>,
}

impl KazooStorage {
    /// Default maximum length of a request's body: 1 GiB.
    pub const DEFAULT_MAX_BODY: u64 = 1 << 30;

    /// Default maximum number of concurrent requests: 2048.
    ///
    /// Each holds at most 256 KiB of its body, and the JSON of a multipart upload.
    pub const DEFAULT_MAX_CONCURRENT: usize = 2048;

    /// Default maximum number of concurrent requests of one client: 512, a quarter of the total.
    pub const DEFAULT_MAX_PER_CLIENT: usize = 512;

    /// Serves the files of `store` with the default options.
    pub fn new(store: impl BlobStore) -> Self {
        Self {
            store: DynBlobStore::new(store),
            key: Arc::new(PathKey),
            base64: Base64::default(),
            max_body: Self::DEFAULT_MAX_BODY,
            max_media: None,
            stall_timeout: None,
            max_metadata: SplitMultipart::DEFAULT_MAX_METADATA,
            max_concurrent: Self::DEFAULT_MAX_CONCURRENT,
            max_per_client: Self::DEFAULT_MAX_PER_CLIENT,
            retry_window: RetryAfter::DEFAULT_WINDOW,
            authorize: None,
            observe: None,
        }
    }

    /// Serves the requests of a KAZOO with these `settings`. They determine the key and the base64 mode.
    pub fn from_settings(store: impl BlobStore, settings: &KazooSettings) -> Self {
        Self::new(store).key(settings.key().clone()).base64(settings.base64())
    }

    /// Sets the extractor that finds the key of a request; by default [`PathKey`].
    #[must_use]
    pub fn key(mut self, extractor: impl KeyExtractor) -> Self {
        self.key = Arc::new(extractor);
        self
    }

    /// Sets which bodies are decoded from base64; by default [`Base64::Detect`].
    #[must_use]
    pub fn base64(mut self, mode: Base64) -> Self {
        self.base64 = mode;
        self
    }

    /// Rejects a body of more than `bytes` with 413; by default [`DEFAULT_MAX_BODY`](Self::DEFAULT_MAX_BODY). The
    /// length includes the multipart and base64 encodings. A [`Grant`](crate::Grant) may have a smaller limit.
    #[must_use]
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.max_body = bytes;
        self
    }

    /// Rejects an upload whose media has more than `bytes`, after the multipart and base64 encodings are removed, with
    /// 413; by default only [`max_body`](Self::max_body) applies.
    #[must_use]
    pub fn max_media(mut self, bytes: u64) -> Self {
        self.max_media = Some(bytes);
        self
    }

    /// Rejects a body that delivers less than 1 KiB in `timeout`, or is too slow on average, with 408, and closes its
    /// connection; by default there is no limit. See [`RejectStalledBody`]. Requires tokio's timers.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = Some(timeout);
        self
    }

    /// Rejects a multipart upload whose JSON part has more than `bytes` with 413; by default 1 MiB.
    #[must_use]
    pub fn max_metadata(mut self, bytes: usize) -> Self {
        self.max_metadata = bytes;
        self
    }

    /// Limits the concurrent requests to `requests`; by default
    /// [`DEFAULT_MAX_CONCURRENT`](Self::DEFAULT_MAX_CONCURRENT). Others are answered with 503 and a `Retry-After` of
    /// one second, and KAZOO repeats them. A request counts until its response has been sent.
    ///
    /// With a key that [reads the metadata](KeyExtractor::reads_metadata), a multipart upload counts only after its
    /// JSON part has arrived. Until then no limit of requests applies, and it holds up to
    /// [`max_metadata`](Self::max_metadata) bytes. Limit the connections, or set a
    /// [`stall_timeout`](Self::stall_timeout) and a smaller `max_metadata`.
    #[must_use]
    pub fn max_concurrent(mut self, requests: usize) -> Self {
        self.max_concurrent = requests;
        self
    }

    /// Limits the concurrent requests of one client to `requests`; by default
    /// [`DEFAULT_MAX_PER_CLIENT`](Self::DEFAULT_MAX_PER_CLIENT).
    ///
    /// The client is the extension [`ClientAddr`](crate::client_addr::ClientAddr), or else
    /// [`PeerAddr`](crate::PeerAddr), which the code that accepts connections inserts. A request with neither counts
    /// only toward [`max_concurrent`](Self::max_concurrent).
    #[must_use]
    pub fn max_per_client(mut self, requests: usize) -> Self {
        self.max_per_client = requests;
        self
    }

    /// Answers a failing request with `Retry-After` for at most `window`; by default an hour. After that it is answered
    /// with 503 alone, so that no KAZOO process waits forever. See [`RetryAfter`].
    ///
    /// A [`RetryAfter`] layer around the service decides instead.
    #[must_use]
    pub fn retry_window(mut self, window: Duration) -> Self {
        self.retry_window = window;
        self
    }

    /// Authorizes every request with `authorizer`, such as [`AccessRules`](crate::AccessRules); by default every
    /// request is allowed what its [`Grant`](crate::Grant) permits, if outer middleware has inserted one.
    #[must_use]
    pub fn authorize(mut self, authorizer: impl Authorizer) -> Self {
        self.authorize = Some(Authorize::new(authorizer));
        self
    }

    /// Reports each request to `events`.
    #[must_use]
    pub fn observe(mut self, events: impl Events) -> Self {
        self.observe = Some(Observe::new(events));
        self
    }

    /// Builds the service, for `nest_service` and other routers that strip the prefix.
    ///
    /// The key is extracted from the path that the service sees.
    #[must_use]
    pub fn into_service(self) -> StorageService {
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
                .option_layer(self.observe)
                .layer(RetryAfter::new(self.retry_window))
                .option_layer(self.stall_timeout.map(RejectStalledBody::new))
                .layer(DrainBody::new())
                .layer(RejectAmbiguousFraming::new())
                .option_layer(self.authorize)
                .layer(LimitBody::new(self.max_body))
                .option_layer(admit_by_head)
                .layer(VerifyDigest::new())
                .layer(SplitMultipart::new().max_metadata(self.max_metadata))
                .option_layer(admit_by_metadata)
                .layer(DecodeBase64::new(self.base64))
                .option_layer(self.max_media.map(LimitBody::new))
                .layer(AnswerProbe::new(check))
                .service(ServeBlobs::new(self.store)),
        )
    }

    /// Builds a layer that serves the requests under `prefix`, and passes all others to the inner service.
    ///
    /// `prefix` is compared segment by segment, in the form of [`normalize_path`](crate::normalize::normalize_path),
    /// because the HTTP clients of Erlang releases spell a URL differently. A path with an empty segment or a `..`
    /// before the end of the prefix does not match. With `/`, every request is served.
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
            .field("max_media", &self.max_media)
            .field("stall_timeout", &self.stall_timeout)
            .field("max_metadata", &self.max_metadata)
            .field("max_concurrent", &self.max_concurrent)
            .field("max_per_client", &self.max_per_client)
            .finish_non_exhaustive()
    }
}
