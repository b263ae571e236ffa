//! The `serve` command: from its options to the running server.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use http::Request;
use kazoo_storage::{Body, Error, ErrorKind};
use tokio::runtime;

use crate::{
    accept::{self, End},
    cli::ServeOptions,
    connection::Handler,
    log,
    request_body::RequestBody,
    shutdown::Signals,
};

/// The most threads that wait for the disk.
///
/// They spend their time waiting: enough of them that the kernel can commit many files at once, and few enough that
/// their stacks are no matter.
const BLOCKING_THREADS: usize = 128;

/// How long the process waits at its end for what the disk is still doing.
const DISK: Duration = Duration::from_secs(1);

type Fallible<T> = Result<T, Box<dyn StdError + Send + Sync>>;

/// Serves until a signal ends it.
pub(crate) fn run(options: ServeOptions) -> Fallible<ExitCode> {
    log::init(options.log_format);
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
    let service = stub(&options);
    let address = options.listen;
    let listener = accept::listen(address).map_err(|error| {
        format!("cannot listen on {address}: {error}; stop what listens there, or choose another --listen address")
    })?;
    let address = listener.local_addr()?;
    // Before anybody can know that the server runs, so that no signal ends it otherwise.
    let signals = Signals::new()?;
    // A server whose stdout is closed is still a server.
    let _ = writeln!(io::stdout(), "listening on http://{address}");
    tracing::info!(%address, mount = options.mount, root = %options.root.display(), "started");
    Ok(accept::serve(listener, service, signals, options.grace).await)
}

fn stub(options: &ServeOptions) -> impl Handler {
    let root = options.root.clone();
    let max = options.max_body.0;
    let mount = options.mount.clone();
    std::fs::create_dir_all(&root).unwrap();
    tower::service_fn(move |request: Request<RequestBody>| {
        let root = root.clone();
        let mount = mount.clone();
        async move {
            use http_body_util::BodyExt as _;
            let Some(name) = request.uri().path().strip_prefix(&mount) else {
                return Ok(Error::new(ErrorKind::NotFound, format!("storage is mounted at {mount}")).into_response());
            };
            let file = root.join(name.replace('/', "_"));
            if request.method() == "GET" {
                return Ok(match std::fs::read(file) {
                    Ok(bytes) => http::Response::new(Body::from(bytes::Bytes::from(bytes))),
                    Err(_) => Error::new(ErrorKind::NotFound, "none").into_response(),
                });
            }
            if http_body::Body::size_hint(request.body()).lower() > max {
                return Ok(Error::new(ErrorKind::TooLarge, "too large").into_response());
            }
            Ok(match request.into_body().collect().await {
                Ok(body) => {
                    std::fs::write(file, body.to_bytes()).unwrap();
                    let mut r = http::Response::new(Body::empty());
                    *r.status_mut() = http::StatusCode::CREATED;
                    r
                }
                Err(error) => Error::from_body(error).into_response(),
            })
        }
    })
}
