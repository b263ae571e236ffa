//! The `serve` command: opens the files, sockets and store of the configuration, and runs the server.

mod access;
mod administration;
mod audit_file;
mod deletion_webhook;
mod deliveries;
mod drain;
mod fetch_audit;
mod file_permissions;
mod mount;
mod open;
mod policy;
mod preflight;
mod reload;
mod request_id;
mod service_manager;
mod stack;

use std::{
    error::Error as StdError,
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use kazoo_storage::{authorize::SharedAccessRules, settings::KazooSettings, store::DynBlobStore};
use kazoo_storage_ledger::{Ledger, delivery::Receivers};
use tokio::{
    join,
    net::TcpListener,
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::timeout,
};

use self::{
    audit_file::AuditFile, deletion_webhook::Secret, deliveries::Deliveries, mount::Mount, open::Opened,
    reload::Reloadable, stack::Parts,
};
pub(crate) use self::{file_permissions::warnings as permission_warnings, preflight::check};
use crate::{
    admin::{self, Api, Readiness},
    config::{Config, Invalid},
    flag_file, log,
    net::{
        accept::{self, End, Server},
        admission::{self, Admission},
        connection::Bounds,
        inherited::Sockets,
        pulse,
        tls::Tls,
    },
    policy_file,
    shutdown::{Phase, Signals},
};

/// Maximum number of threads that wait for the disk.
///
/// Measured on a local disk, 8 serve 128 uploads at once as fast as 512. Where a sync crosses a network, each upload that
/// waits for one needs its own thread; uploads beyond this number wait in a queue that costs no stacks.
const BLOCKING_THREADS: usize = 64;

/// Time that the process waits for pending disk operations when it exits.
const DISK: Duration = Duration::from_secs(1);

/// Time that changes by the operator have to end when the server stops.
const CHANGES: Duration = Duration::from_secs(5);

/// Time in which the ledger is closed.
const LEDGER: Duration = Duration::from_secs(5);

type Fallible<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Serves until a signal stops the server, on `sockets` or else on the addresses of `config`.
pub(crate) fn run(config: Config, sockets: Sockets) -> Fallible<ExitCode> {
    log::init(config.log);
    let of_admin = config.admin.as_ref().map_or(0, |_| admin::DESCRIPTORS);
    admission::raise_descriptors(&config.connections, of_admin);
    // One worker for each core, the default.
    let runtime = runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()?;
    let end = runtime.block_on(start(config, sockets))?;
    Ok(match end {
        // Requests cut off at the end of the grace period were asked to retry.
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

/// The content of the files that a configuration names.
struct Files {
    settings: Option<KazooSettings>,
    mount: Mount,
    rules: Option<SharedAccessRules>,
    receivers: Option<Receivers>,
    policy: Option<policy_file::Content>,
    webhook_secret: Option<Arc<Secret>>,
    tls: Option<Tls>,
}

impl Files {
    /// Reads the files. The error names the flag and the file.
    fn read(config: &Config) -> Result<Self, String> {
        let settings = config.settings.as_deref().map(settings).transpose()?;
        let mount = Mount::new(config.mount.as_ref(), settings.as_ref())?;
        let webhook = config.deletion_webhook.as_ref();
        if let Some(webhook) = webhook {
            mount.check_apart("--deletion-webhook", &webhook.path)?;
        }
        Ok(Self {
            policy: config.policy.as_deref().map(policy_file::read).transpose()?,
            webhook_secret: webhook
                .map(|webhook| Secret::open(&webhook.secret))
                .transpose()?
                .map(Arc::new),
            rules: access::rules(&config.access, &mount)?,
            receivers: config.deliveries.as_deref().map(deliveries::read).transpose()?,
            tls: config.tls.clone().map(Tls::open).transpose()?,
            settings,
            mount,
        })
    }
}

/// Keeps the secrets of `rules` out of the log, and warns of a mount that looks like one, and of files that all can read.
fn warn_of_secrets(config: &Config, mount: &Mount, rules: Option<&SharedAccessRules>) {
    for warning in permission_warnings(config) {
        tracing::warn!("{warning}");
    }
    if let Some(rules) = rules {
        log::redact::conceal(rules);
    }
    if mount.has_secret() && !rules.is_some_and(|rules| rules.current().has_tokens()) {
        tracing::warn!(
            mount = mount.shown(),
            "the segment *** of the mount looks like a token, but no token is required: add it to --access, and set --mount \
             to the part of the path before it"
        );
    }
}

async fn start(config: Config, sockets: Sockets) -> Fallible<End> {
    // From now on SIGHUP does not end the process, neither from a closed terminal nor while the store is being opened.
    let hangups = signal(SignalKind::hangup())?;
    let Files {
        settings,
        mount,
        rules,
        receivers,
        policy,
        webhook_secret,
        tls,
    } = Files::read(&config).map_err(Invalid)?;
    preflight::audit_file(&config).map_err(Invalid)?;
    warn_of_secrets(&config, &mount, rules.as_ref());
    // Binds the port before it opens the store: clients can connect while a slow store is being opened, and a second server
    // on the same port does not touch the files.
    let listener = match sockets.listen {
        Some(socket) => socket.listen()?,
        None => listen(config.listen, "--listen")?,
    };
    let (phases, phase) = watch::channel(Phase::Serving);
    let readiness = Arc::new(Readiness::new(phase.clone()));
    let api = match &config.admin {
        Some(admin) => {
            if let Some(root) = admin
                .token_file
                .as_deref()
                .and_then(|file| preflight::new_store_of(file, &config))
            {
                // The token is needed before the store is open, which reports a failure.
                let _ = fs::create_dir_all(root);
            }
            let delivers = config.deliveries.is_some();
            let api = administration::start(admin, sockets.admin, delivers, Arc::clone(&readiness))?;
            Some(api)
        }
        None => None,
    };
    let Opened {
        storage,
        deliveries,
        audit_file,
        policy,
        webhook,
    } = open::open(&config, receivers, policy, webhook_secret.as_ref(), &phase).await?;
    let (ledger, store) = (storage.ledger.clone(), DynBlobStore::new(storage.store.clone()));
    if let Some(api) = &api {
        api.opened(storage);
    }
    readiness.opened(store.clone());
    let parts = Parts {
        store,
        settings: settings.as_ref(),
        access: rules.clone(),
        mount: &mount,
        webhook,
        phase: phase.clone(),
        audit: ledger.clone().filter(|_| config.audit),
    };
    let server = Server {
        tls: tls.clone(),
        service: stack::build(&config, parts),
        admission: Admission::new(&config.connections),
        bounds: Bounds {
            timeouts: config.timeouts,
            max_head: config.limits.max_head,
        },
    };
    let address = listener.local_addr()?;
    // Installed before the address is printed: from now on signals stop the server gracefully.
    let signals = Signals::new()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!(%address, scheme, mount = mount.shown(), store = %config.store, "started");
    let reloadable = Reloadable {
        access: config.access,
        rules,
        mount,
        tls,
        deliveries: deliveries.clone(),
        audit_file: audit_file.clone(),
        policy,
        webhook_secret,
        admin_token: api.as_ref().and_then(|api| api.token().cloned()),
    };
    tokio::spawn(reloadable.reload_on(hangups));
    // The server works without stdout too.
    let _ = writeln!(io::stdout(), "listening on {scheme}://{address}");
    service_manager::ready();
    let (pulse, beats) = pulse::pulse();
    tokio::spawn(service_manager::watch(pulse, readiness));
    let reporting = tokio::spawn(service_manager::report(server.admission.clone(), phase, config.grace));
    let end = accept::serve(listener, beats, server, phases, signals, config.grace).await;
    let _ = reporting.await;
    if matches!(end, End::Drained | End::GraceOver) {
        close(api.as_deref(), deliveries.as_deref(), audit_file.as_deref(), ledger).await;
    }
    Ok(end)
}

/// Ends what still uses the ledger, and closes it.
async fn close(
    api: Option<&Api>,
    deliveries: Option<&Deliveries>,
    audit_file: Option<&AuditFile>,
    ledger: Option<Ledger>,
) {
    join!(end_changes(api), async {
        if let Some(deliveries) = deliveries {
            deliveries.end().await;
        }
    });
    if let Some(file) = audit_file {
        file.end().await;
    }
    if let Some(ledger) = ledger
        && timeout(LEDGER, ledger.shutdown()).await.is_err()
    {
        tracing::warn!("the ledger could not be closed in time; nothing is lost");
    }
}

/// Waits for the changes by the operator.
async fn end_changes(api: Option<&Api>) {
    if let Some(api) = api
        && timeout(CHANGES, api.end()).await.is_err()
    {
        tracing::warn!("a file or a receiver is still being removed; remove it again after the next start");
    }
}

fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    accept::listen(address)
        .map_err(|error| format!("cannot listen on {address}: {error}; set another address with {flag}"))
}

/// Reads the file of `--settings`, and logs its warnings.
fn settings(file: &Path) -> Result<KazooSettings, String> {
    let shown = file.display();
    let text = flag_file::read_text("--settings", file)?;
    let settings = KazooSettings::from_json(&text).map_err(|error| format!("--settings {shown}: {error}"))?;
    for warning in settings.warnings() {
        tracing::warn!(settings = %shown, "{warning}");
    }
    Ok(settings)
}
