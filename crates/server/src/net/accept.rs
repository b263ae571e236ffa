//! Accepts connections until a signal, then brings the open ones to their end.

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
    admission::{Admission, Place, TurnedAway},
    connection::{self, Accepted, Bounds, Handler},
    metrics,
    tls::Tls,
};
use crate::shutdown::{self, Phase, Signals};

/// How many connections the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;

/// How long to wait after a failed `accept`.
///
/// It fails when the process has no file descriptor left, and would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How the server came to its end.
pub(crate) enum End {
    /// Every connection was served to its end.
    Drained,
    /// The grace period was over first.
    GraceOver,
    /// A second signal came first.
    Signal(SignalKind),
}

/// Listens on `address`.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A server that is started again may have connections of its last run in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit this: a download that waits for its reader is not the only one that can be dead.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection is served by, and within which bounds.
#[derive(Clone)]
pub(crate) struct Site<S> {
    pub(crate) tls: Option<Tls>,
    pub(crate) service: S,
    pub(crate) admission: Admission,
    pub(crate) bounds: Bounds,
}

/// Serves connections until the first signal, and the open ones until they or `grace` end or a second signal comes.
///
/// `phases` tells the service how far the end has come.
pub(crate) async fn serve<S: Handler>(
    listener: TcpListener,
    site: Site<S>,
    phases: watch::Sender<Phase>,
    mut signals: Signals,
    grace: Duration,
) -> End {
    let mut connections = JoinSet::new();
    let serve = |(stream, peer): (TcpStream, SocketAddr), connections: &mut JoinSet<()>| {
        let since = Instant::now();
        if let Some(place) = site.admission.enter(peer) {
            connections.spawn(serve_connection(stream, Accepted { peer, since }, place, site.clone()));
        } else {
            // Its client finds it closed.
            metrics::connection_dropped();
            tracing::debug!(%peer, "closed a connection unheard");
        }
    };

    loop {
        let accepted = tokio::select! {
            biased;
            _ = signals.recv() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => serve(accepted, &mut connections),
            Err(error) if is_about_the_connection(&error) => tracing::debug!(%error, "a connection ended unaccepted"),
            Err(error) => {
                tracing::error!(%error, open = connections.len(), "cannot accept connections");
                tokio::select! {
                    _ = signals.recv() => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
        // What has ended makes room.
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
        "stopping: no new connections"
    );

    tokio::select! {
        () = all(&mut connections) => return End::Drained,
        () = sleep_until(deadline - shutdown::ending(grace)) => {}
        signal = signals.recv() => return End::Signal(signal),
    }
    phases.send_replace(Phase::Ending);
    tracing::warn!(
        open = connections.len(),
        "the grace period is nearly over: what is not done is answered with 503"
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

async fn serve_connection<S: Handler>(stream: TcpStream, accepted: Accepted, place: Place, site: Site<S>) {
    let Site {
        tls, service, bounds, ..
    } = site;
    let over = place.is_over_the_limit();
    let service = tower::util::MapRequest::new(service, move |mut request: Request<Incoming>| {
        if over {
            request.extensions_mut().insert(TurnedAway);
        }
        request
    });
    // Answers are written whole; waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let served = match tls {
        None => connection::serve(stream, accepted, bounds, service).await,
        Some(tls) => match tls.accept(stream, accepted.since + bounds.timeouts.head).await {
            Ok(stream) => connection::serve(stream, accepted, bounds, service).await,
            Err(error) => {
                // It never came to a request, so nothing else tells of it.
                let peer = accepted.peer;
                tracing::warn!(%peer, %error, "refused what is not TLS, or not the TLS that is asked for");
                return;
            }
        },
    };
    if let Err(error) = served {
        let cause = crate::log::chain(&error);
        if error.is_parse() {
            // It never was a request, so nothing else tells of it.
            tracing::warn!(error = cause, "refused what is not HTTP/1.1");
        } else {
            // The client went away, or a file ended midway: the request has its line.
            tracing::debug!(error = cause, "a connection failed");
        }
    }
}

/// Closes `listener`, and hands over the connections that the kernel had established for it.
///
/// Their clients may have sent a request already, which closing alone would reset.
fn close(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let Ok(listener) = listener.into_std() else {
        return Vec::new();
    };
    // It does not block: the first that is not there ends the list.
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

/// Whether `accept` failed for one connection alone, and the next may be well.
fn is_about_the_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
