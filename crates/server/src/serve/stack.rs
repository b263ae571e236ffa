//! The services that answer a request, from the outermost to the store.

use std::{any::Any, convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body as HttpBody;
use kazoo_storage::{
    Body, DrainBody, Error, ErrorKind, KazooStorage, LimitBody, Observe, PathKey, RejectAmbiguousFraming,
    RejectStalledBody, RetryAfter,
    authorize::SharedAccessRules,
    extract_key::{KeyExtractor as _, MetadataKey, QueryKey},
    observe::Metrics,
    rewrite::{Rewrite, RewriteService, Rewritten},
    settings::KazooSettings,
    store::DynBlobStore,
};
use kazoo_storage_ledger::Ledger;
use tokio::sync::watch;
use tower::{Service, ServiceBuilder, layer::layer_fn, service_fn, util::BoxCloneSyncService};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{PropagateRequestIdLayer, SetRequestIdLayer},
    sensitive_headers::SetSensitiveRequestHeadersLayer,
};

use super::{
    deletion_webhook::DeletionWebhook,
    drain, fetch_audit,
    mount::Mount,
    request_id::{self, GenerateId},
};
use crate::{
    admin::Api,
    config::{Config, KeySource},
    log::Requests,
    net::{admission, heads::Fault},
    shutdown::Phase,
};

/// The parts that the stack is built from, beside the configuration.
pub(super) struct Parts<'a> {
    pub(super) store: DynBlobStore,
    /// KAZOO's settings, if there are any.
    pub(super) settings: Option<&'a KazooSettings>,
    pub(super) access: Option<SharedAccessRules>,
    pub(super) mount: &'a Mount,
    /// The webhook for deletions in KAZOO, if there is one.
    pub(super) webhook: Option<DeletionWebhook>,
    pub(super) phase: watch::Receiver<Phase>,
    /// The ledger whose audit trail has every fetch, if it is to have them.
    pub(super) audit: Option<Ledger>,
}

/// Builds the service that answers every request.
pub(super) fn build<B>(
    config: &Config,
    parts: Parts<'_>,
) -> impl Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + use<B>
where
    B: HttpBody<Data = Bytes, Error: Into<kazoo_storage::error::BoxError>> + Send + 'static,
{
    let webhook = config.deletion_webhook.as_ref().map(|webhook| webhook.path.as_str());
    let redactor = parts.mount.redactor(parts.access.clone()).webhook(webhook);
    let requests = Requests {
        redactor: redactor.clone(),
        settings: parts.settings.cloned(),
        keys: match parts.settings {
            Some(settings) => !settings.key().reads_metadata(),
            None => !matches!(config.key, KeySource::Metadata(_)),
        },
    };
    let hint: Arc<str> = format!("no storage here: it is mounted at {}", parts.mount.shown()).into();
    let Parts {
        phase, mount, webhook, ..
    } = &parts;
    let (phase, mount, webhook, audited) = (phase.clone(), mount.path(), webhook.clone(), parts.audit.clone());
    ServiceBuilder::new()
        // Keeps the request id of a proxy, which then identifies the request in both logs. Replaces one that is not safe to log.
        .map_request(move |request| request_id::sanitize(request, &redactor))
        .layer(SetRequestIdLayer::x_request_id(GenerateId))
        .layer(PropagateRequestIdLayer::x_request_id())
        // `Debug` of a request never shows a password.
        .layer(SetSensitiveRequestHeadersLayer::new([header::AUTHORIZATION]))
        // Logs and counts every response below, including those to panics.
        .layer(Observe::new((requests, Metrics::new())))
        // Decides which responses ask the client to retry, including the refusals below.
        .layer(RetryAfter::new(config.limits.retry_window))
        // A defect costs one request, not the other requests of its connection.
        .layer(CatchPanicLayer::custom(panicked))
        // Ends requests at the end of the grace period, and closes connections while the server stops.
        .map_future(move |response| drain::answer(response, phase.clone()))
        // Refuses requests whose head is faulty or whose connection is over a limit, before anything reads their body.
        .layer(layer_fn(|inner| RewriteService::new(RefuseFaults, inner)))
        // Records the fetches.
        .option_layer(audited.map(|ledger| layer_fn(move |inner| fetch_audit::recording(inner, ledger.clone()))))
        // Serves the files.
        .layer(storage(config, parts).mount(mount))
        // Answers requests outside the mount: those of the webhook, and others with a 404 that names the mount, within the same
        // limits. Their futures are in boxes, because the futures of the layers above are moved, and have space for either.
        .layer(layer_fn(BoxCloneSyncService::new))
        .layer(RejectStalledBody::new(config.timeouts.stall))
        .layer(DrainBody::new())
        .layer(RejectAmbiguousFraming::new())
        .layer(LimitBody::new(config.limits.max_body))
        .service(service_fn(move |request: Request<Body>| {
            let (webhook, hint) = (webhook.clone(), Arc::clone(&hint));
            let remedy = if Api::serves(request.uri().path()) {
                "the API has an address of its own: pass that of --admin instead of that of --listen"
            } else {
                "check the URL in the storage settings"
            };
            async move {
                let answered = match &webhook {
                    Some(webhook) => webhook.answer(request).await,
                    None => None,
                };
                let missing = || Error::new(ErrorKind::NotFound, format!("{hint}; {remedy}")).to_response();
                Ok::<_, Infallible>(answered.unwrap_or_else(missing))
            }
        }))
}

/// Configures the storage.
fn storage(config: &Config, parts: Parts<'_>) -> KazooStorage {
    let storage = if let Some(settings) = parts.settings {
        KazooStorage::from_settings(parts.store, settings)
    } else {
        let storage = KazooStorage::new(parts.store).base64(config.base64);
        match &config.key {
            KeySource::Path => storage.key(PathKey),
            KeySource::Query(name) => storage.key(QueryKey::new(name.clone())),
            KeySource::Metadata(fields) => storage.key(MetadataKey::new(fields.iter().cloned())),
        }
    };
    let storage = storage
        .max_body(config.limits.max_body)
        .max_metadata(config.limits.max_metadata)
        .max_concurrent(config.limits.max_requests)
        .max_per_client(config.limits.max_requests_per_address)
        .stall_timeout(config.timeouts.stall);
    match parts.access {
        Some(access) => storage.authorize(access),
        None => storage,
    }
}

/// Refuses requests whose head is faulty or whose connection is over a limit.
#[derive(Clone)]
struct RefuseFaults;

impl<B> Rewrite<B> for RefuseFaults {
    type Body = B;

    fn rewrite(&self, request: Request<B>) -> Rewritten<B> {
        match Fault::answer(&request).or_else(|| admission::refusal(&request)) {
            Some(refusal) => Rewritten::Response(refusal),
            None => Rewritten::Request(request),
        }
    }
}

/// Creates the response to a request whose handler panicked. The panic itself is in the log.
fn panicked(_: Box<dyn Any + Send>) -> Response<Body> {
    let message = "the storage server failed because of a defect; its log has the details";
    Error::new(ErrorKind::Internal, message).to_response()
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Mutex, PoisonError},
    };

    use clap::Parser as _;
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use kazoo_storage::{BlobKey, BlobStore, ByteRange, GetResult, Metadata, PutResult, Upload};
    use serde_json::Value;
    use tower::ServiceExt as _;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::cli::{Cli, Command};

    /// A store with a defect.
    struct Panicking;

    impl BlobStore for Panicking {
        async fn put(&self, _: Upload) -> kazoo_storage::Result<PutResult> {
            panic!("a defect")
        }

        async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> kazoo_storage::Result<GetResult> {
            panic!("a defect")
        }

        async fn metadata(&self, _: &BlobKey) -> kazoo_storage::Result<Option<Metadata>> {
            panic!("a defect")
        }

        async fn check(&self) -> kazoo_storage::Result<()> {
            panic!("a defect")
        }
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, record: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(record);
            Ok(record.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Log {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    fn stack(
        store: impl BlobStore,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone {
        let Command::Serve(options) = Cli::parse_from(["kazoo-storage", "serve"]).command else {
            panic!("not `serve`")
        };
        let config = Config::try_from(*options).unwrap();
        let parts = Parts {
            store: DynBlobStore::new(store),
            settings: None,
            access: None,
            mount: &Mount::new(None, None).unwrap(),
            webhook: None,
            phase: watch::channel(Phase::Serving).1,
            audit: None,
        };
        build(&config, parts)
    }

    #[tokio::test]
    async fn answers_and_logs_a_panic() {
        let log = Log::default();
        let logging = tracing_subscriber::fmt()
            .with_writer(log.clone())
            .with_ansi(false)
            .finish();
        let logging = tracing::subscriber::set_default(logging);
        let stack = stack(Panicking);
        for request in [
            Request::put("/some_prefix/ACC/DOC/message.mp3").body(Body::from("content")),
            Request::get("/some_prefix/ACC/DOC/message.mp3").body(Body::empty()),
        ] {
            let response = stack.clone().oneshot(request.unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(response.headers()["x-request-id"].len(), 16);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
            assert!(!response.headers().contains_key(header::RETRY_AFTER));
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((&body["error"], &body["status"]), (&"internal".into(), &500.into()));
        }
        drop(logging);
        let log = log.0.lock().unwrap().clone();
        let log = String::from_utf8(log).unwrap();
        assert_eq!(log.matches("status=500 outcome=\"internal\"").count(), 2, "{log}");
    }

    #[test]
    fn the_future_of_a_request_is_small() {
        let mut stack = stack(kazoo_storage::MemoryStore::new());
        let future = stack.call(Request::get("/").body(Body::empty()).unwrap());
        // Each layer moves the future of the layer below it.
        assert!(size_of_val(&future) <= 1024, "{} bytes", size_of_val(&future));
    }

    #[tokio::test]
    async fn propagates_the_request_id() {
        let stack = stack(kazoo_storage::MemoryStore::new());
        for (sent, is_kept) in [("proxy-1", true), ("not an id", false)] {
            let request = Request::get("/some_prefix/A/B/C").header("x-request-id", sent);
            let response = stack
                .clone()
                .oneshot(request.body(Body::empty()).unwrap())
                .await
                .unwrap();
            assert_eq!(response.headers()["x-request-id"] == sent, is_kept, "{sent}");
            assert_eq!(response.headers().get_all("x-request-id").iter().count(), 1);
        }
    }
}
