//! Accepts connections until a signal, then drains the open ones.

use std::{io, net::SocketAddr, time::Duration};

use http::Request;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    signal::unix::SignalKind,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{
    admission::{Admission, ConnectionPermit, TurnedAway},
    connection::{self, Accepted, Bounds, Handler},
    metrics,
    pulse::Beats,
    tls::Tls,
};
use crate::shutdown::{self, Phase, Signals};

/// Maximum number of connections that the kernel queues until they are accepted.
const BACKLOG: u32 = 1024;

/// Pause after a failed `accept`, which would fail again at once if the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The reason for the end of the server.
pub(crate) enum End {
    /// All connections are closed.
    Drained,
    /// The grace period ended first.
    GraceOver,
    /// A second signal arrived first.
    Signal(SignalKind),
}

/// Listens on `address`.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // After a restart, connections of the previous run may be in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit this. It detects dead clients of idle connections too.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The service of all connections, and its limits.
#[derive(Clone)]
pub(crate) struct Server<S> {
    pub(crate) tls: Option<Tls>,
    pub(crate) service: S,
    pub(crate) admission: Admission,
    pub(crate) bounds: Bounds,
}

/// Serves connections until the first signal, then the open ones until they close, `grace` ends or a second signal arrives.
///
/// Sends the phases of the shutdown to `phases`.
pub(crate) async fn serve<S: Handler>(
    listener: TcpListener,
    mut beats: Beats,
    server: Server<S>,
    phases: watch::Sender<Phase>,
    mut signals: Signals,
    grace: Duration,
) -> End {
    let mut connections = JoinSet::new();
    let serve = |(stream, peer): (TcpStream, SocketAddr), connections: &mut JoinSet<()>| {
        let since = Instant::now();
        if let Some(permit) = server.admission.acquire(peer) {
            connections.spawn(serve_connection(
                stream,
                Accepted { peer, since },
                permit,
                server.clone(),
            ));
        } else {
            metrics::dropped();
            tracing::debug!(%peer, "dropped a connection without a response");
        }
    };

    loop {
        let accepted = tokio::select! {
            biased;
            _ = signals.recv() => break,
            () = beats.answer() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => serve(accepted, &mut connections),
            Err(error) if is_about_the_connection(&error) => {
                tracing::debug!(%error, "a connection closed before it was accepted");
            }
            Err(error) => {
                tracing::error!(%error, open = connections.len(), "cannot accept connections");
                tokio::select! {
                    _ = signals.recv() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
        // Frees the memory of closed connections.
        while connections.try_join_next().is_some() {}
    }

    let deadline = Instant::now() + grace;
    phases.send_replace(Phase::Draining);
    for accepted in close(listener) {
        serve(accepted, &mut connections);
    }
    while connections.try_join_next().is_some() {}
    tracing::info!(
        open = connections.len(),
        grace_s = grace.as_secs_f64(),
        "stopping: accepting no new connections"
    );

    tokio::select! {
        () = all(&mut connections) => return End::Drained,
        () = sleep_until(deadline - shutdown::ending(grace)) => {}
        signal = signals.recv() => return End::Signal(signal),
    }
    phases.send_replace(Phase::Ending);
    tracing::warn!(
        open = connections.len(),
        "the grace period is nearly over: answering the requests in progress with 503"
    );
    tokio::select! {
        () = all(&mut connections) => End::Drained,
        () = sleep_until(deadline) => {
            tracing::warn!(open = connections.len(), "the grace period is over: closing connections");
            End::GraceOver
        }
        signal = signals.recv() => End::Signal(signal),
    }
}

async fn serve_connection<S: Handler>(
    stream: TcpStream,
    accepted: Accepted,
    permit: ConnectionPermit,
    server: Server<S>,
) {
    let Server {
        tls, service, bounds, ..
    } = server;
    let is_over_limit = permit.is_over_limit();
    let service = tower::util::MapRequest::new(service, move |mut request: Request<Incoming>| {
        if is_over_limit {
            request.extensions_mut().insert(TurnedAway);
        }
        request
    });
    // Responses are written whole; waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let result = match tls {
        None => connection::serve(stream, accepted, bounds, service).await,
        Some(tls) => match tls.accept(stream, accepted.since + bounds.timeouts.head).await {
            Ok(stream) => connection::serve(stream, accepted, bounds, service).await,
            Err(error) => {
                // There was no request, so there is no other log line.
                let peer = accepted.peer;
                tracing::warn!(%peer, %error, "TLS handshake failed");
                return;
            }
        },
    };
    if let Err(error) = result {
        let cause = crate::log::chain(&error);
        if error.is_parse() {
            // There was no request, so there is no other log line.
            tracing::warn!(error = cause, "refused a request that is not HTTP/1.1");
        } else {
            // The client disconnected, or a response failed: the request has its log line.
            tracing::debug!(error = cause, "connection failed");
        }
    }
}

/// Closes `listener`, and returns the connections that the kernel had already established.
///
/// Their clients may have sent a request, which closing the listener alone would reset.
fn close(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    // The listener does not block, so the first error ends the list.
    let established = std::iter::from_fn(|| listener.accept().ok());
    established
        .filter_map(|(stream, peer)| {
            stream.set_nonblocking(true).ok()?;
            Some((TcpStream::from_std(stream).ok()?, peer))
        })
        .collect()
}

async fn all(connections: &mut JoinSet<()>) {
    while connections.join_next().await.is_some() {}
}

/// Returns `true` if `accept` failed because of the connection, and may succeed for the next.
fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
