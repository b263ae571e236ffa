//! The `serve` command: from its options to the running server.

mod access;
mod drain;
mod reload;
mod store;

use std::{
    convert::Infallible,
    error::Error as StdError,
    future::ready,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use http::Request;
use kazoo_storage::{
    Base64, BlobStore, Body, DynBlobCatalog, DynBlobStore, Error, ErrorKind, KazooSettings, KazooStorage,
    KeyExtractor as _, LimitBody, MeasuredStore, MetadataKey, Metrics, Observe, PathKey, QueryKey, RetryAfter,
    SharedAccessRules,
};
use tokio::{
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tower::ServiceExt as _;
use tower_layer::Layer as _;

use crate::{
    admin::{self, Admin, Exporter, Readiness},
    cli::{Base64Mode, KeySource, ServeOptions, Size},
    files,
    log::{self, Mount},
    net::{
        accept::{self, End, Site},
        admission::{self, Admission},
        connection::{Bounds, Handler},
        heads::Fault,
        timeouts::Patience,
        tls::Tls,
    },
    shutdown::{Phase, Signals},
};

/// The most threads that wait for the disk.
///
/// They do nothing but wait. Measured on a local disk, 8 serve 128 uploads at once as fast as 512; where a sync crosses
/// a network, each upload that waits for one needs its own, and beyond this many they wait in a queue that costs no
/// stacks.
const BLOCKING_THREADS: usize = 64;

/// How long the process waits at its end for what the disk is still doing.
const DISK: Duration = Duration::from_secs(1);

type Fallible<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Serves until a signal ends it.
pub(crate) fn run(options: ServeOptions) -> Fallible<ExitCode> {
    log::init(options.log_format);
    admission::raise_descriptors(&options.connections);
    // A worker for each core, as is the default.
    let runtime = runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let end = runtime.block_on(start(options))?;
    Ok(match end {
        // What is cut off at the end of the grace period was told so, and asked to come again.
        End::Drained | End::GraceOver => {
            runtime.shutdown_timeout(DISK);
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        End::Signal(signal) => {
            tracing::warn!("stopped at once by a second signal");
            runtime.shutdown_background();
            ExitCode::from(128_u8.saturating_add(u8::try_from(signal.as_raw_value()).unwrap_or(u8::MAX)))
        }
    })
}

async fn start(options: ServeOptions) -> Fallible<End> {
    // From here on it ends nothing: neither a terminal that is closed, nor a reload while the store is being opened.
    let hangups = signal(SignalKind::hangup())?;
    let settings = options.settings.as_deref().map(settings).transpose()?;
    let mount = Mount::new(options.mount.as_deref(), settings.as_ref())?;
    let access = access::rules(&options, &mount)?;
    if let Some(rules) = &access {
        log::conceal(rules);
    }
    if mount.is_masked() && !access.as_ref().is_some_and(|rules| rules.current().has_tokens()) {
        tracing::warn!(
            mount = mount.shown(),
            "what is *** in the mount looks like a credential, and nobody is asked for it: name it in --access, and say with \
             --mount what stands before it"
        );
    }
    let tls = Tls::open(&options.tls)?;
    // The port first: clients already wait for a store that takes long to open, and a second server on the same port
    // leaves the files alone.
    let listener = listen(options.listen, "--listen")?;
    let (phases, phase) = watch::channel(Phase::Serving);
    let readiness = Arc::new(Readiness::new(phase.clone()));
    if let Some(address) = options.admin {
        let listener = listen(address, "--admin")?;
        tracing::info!(address = %listener.local_addr()?, "answers the operator");
        let admin = Admin {
            exporter: Exporter::install()?,
            readiness: Arc::clone(&readiness),
        };
        tokio::spawn(admin::serve(listener, admin));
    }
    let store = DynBlobCatalog::new(MeasuredStore::new(store::open(&options.store).await?));
    readiness.opened(DynBlobStore::new(store.clone()));
    let service = service(&options, settings.as_ref(), &mount, access.clone(), store, phase)?;
    let limits = &options.limits;
    let site = Site {
        tls: tls.clone(),
        service,
        admission: Admission::new(&options.connections),
        bounds: Bounds {
            patience: Patience {
                head: limits.head_timeout,
                idle: limits.idle_timeout,
                stall: limits.stall_timeout,
            },
            max_head: usize::try_from(limits.max_head.0)?,
        },
    };
    let address = listener.local_addr()?;
    // Before anybody can know that the server runs: from here on no signal ends it in another way.
    let signals = Signals::new()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let grace = options.grace;
    tracing::info!(%address, scheme, mount = mount.shown(), store = %options.store.store, "started");
    tokio::spawn(reload::on(hangups, options, mount, access, tls));
    // A server whose stdout is closed is a server still.
    let _ = writeln!(io::stdout(), "listening on {scheme}://{address}");
    Ok(accept::serve(listener, site, phases, signals, grace).await)
}

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    accept::listen(address)
        .map_err(|error| format!("cannot listen on {address}: {error}; {flag} chooses another address"))
}

/// The storage at its mount, a hint everywhere else, and a line in the log for every request.
fn service(
    options: &ServeOptions,
    settings: Option<&KazooSettings>,
    mount: &Mount,
    access: Option<SharedAccessRules>,
    store: DynBlobCatalog,
    phase: watch::Receiver<Phase>,
) -> Fallible<impl Handler> {
    let Size(max_body) = options.max_body;
    let storage = match settings {
        Some(settings) => KazooStorage::from_settings(store, settings),
        None => by_flags(store, options),
    };
    let storage = storage
        .max_body(max_body)
        .max_metadata(usize::try_from(options.limits.max_metadata.0)?)
        .max_concurrent(options.limits.max_requests)
        .max_per_client(options.limits.max_requests_per_address)
        .stall_timeout(options.limits.stall_timeout);
    let storage = match &access {
        Some(access) => storage.authorize(access.clone()),
        None => storage,
    };
    let hint: Arc<str> = format!(
        "no storage here: it is mounted at {}; mind the URL in the storage settings",
        mount.shown()
    )
    .into();
    let elsewhere = tower::service_fn(move |_: Request<Body>| {
        let error = Error::new(ErrorKind::NotFound, hint.to_string());
        ready(Ok::<_, Infallible>(error.into_response()))
    });
    let everywhere = storage.mount(mount.path()).layer(
        LimitBody::new(max_body)
            .stall_timeout(options.limits.stall_timeout)
            .layer(elsewhere),
    );
    let admitted = tower::service_fn(move |request: Request<Body>| {
        let refusal = Fault::answer(&request).or_else(|| admission::refusal(&request));
        let everywhere = everywhere.clone();
        async move {
            match refusal {
                Some(refusal) => Ok(refusal),
                None => everywhere.oneshot(request).await,
            }
        }
    });
    let draining = tower::service_fn(move |request| drain::answer(admitted.clone(), request, phase.clone()));
    let keys = match settings {
        Some(settings) => !settings.key().reads_metadata(),
        None => !matches!(options.key, KeySource::Metadata(_)),
    };
    let requests = log::Requests {
        mount: mount.clone(),
        settings: settings.cloned(),
        keys,
        access,
    };
    let retry_after = RetryAfter::new(options.limits.retry_window);
    Ok(Observe::new((requests, Metrics::new())).layer(retry_after.layer(draining)))
}

fn by_flags(store: impl BlobStore, options: &ServeOptions) -> KazooStorage {
    let storage = KazooStorage::new(store).base64(match options.base64 {
        Base64Mode::Detect => Base64::Detect,
        Base64Mode::Declared => Base64::Declared,
        Base64Mode::Off => Base64::Off,
    });
    match &options.key {
        KeySource::Path => storage.key(PathKey),
        KeySource::Query(name) => storage.key(QueryKey::new(name.clone())),
        KeySource::Metadata(fields) => storage.key(MetadataKey::new(fields.iter().cloned())),
    }
}

/// The settings in the file of `--settings`; what may fail with them is in the log.
fn settings(path: &Path) -> Fallible<KazooSettings> {
    let shown = path.display();
    let text = files::read_text(path).map_err(|error| format!("cannot read --settings {shown}: {error}"))?;
    let settings = KazooSettings::from_json(&text).map_err(|error| format!("--settings {shown}: {error}"))?;
    for warning in settings.warnings() {
        tracing::warn!(settings = %shown, "{warning}");
    }
    Ok(settings)
}
