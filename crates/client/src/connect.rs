//! Connections, over TCP and over TLS.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout, timeout_at},
};

use super::{
    chunks::Chunks,
    failure::{Failure, FailureKind},
    in_process::Served,
    tls::Tls,
};
use kazoo_storage::{Error, ErrorKind, Result, error::BoxError, settings::StorageUrl};

/// The server that a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Origin {
    pub(super) fn of(url: &StorageUrl) -> Self {
        Self {
            tls: url.is_https(),
            host: url.host().to_owned(),
            port: url.port(),
        }
    }
}

/// Size of the write buffer, and the maximum length of a response's head, in bytes.
const BUFFER: usize = 64 * 1024;

/// Time in which a service in this process ends after its connection.
const END: Duration = Duration::from_secs(1);

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: Sender,
    /// The other end, if it is in this process.
    pub(super) served: Option<Served>,
}

impl Connection {
    /// Replaces the cause of `failure` by the error or the panic of a service in this process, which broke the connection.
    pub(super) async fn explain(self, failure: Failure) -> Failure {
        let Self { sender, served } = self;
        // Otherwise a service without an error would wait for the next request.
        drop(sender);
        let Some(served) = served else { return failure };
        match timeout(END, served).await {
            Ok(Ok(Err(error))) => failure.with_source(error),
            Ok(Err(panic)) => failure.with_source(panic),
            Ok(Ok(Ok(()))) | Err(_) => failure,
        }
    }
}

pub(super) type Sender = SendRequest<Chunks>;

/// Opens a connection to `origin` within `time`, including DNS and TLS.
pub(super) async fn open(origin: &Origin, tls: Option<&Tls>, time: Duration) -> Result<Connection, Failure> {
    let deadline = Instant::now() + time;
    let addresses = lookup_host((&*origin.host, origin.port));
    let addresses: Vec<_> = until(deadline, FailureKind::Resolve, addresses).await?.collect();
    let stream = until(deadline, FailureKind::Connect, TcpStream::connect(&*addresses)).await;
    let stream = stream.map_err(|failure| refused(&origin.host, addresses, failure))?;
    stream.set_nodelay(true).map_err(failed(FailureKind::Connect))?;
    let sender = match tls {
        None => handshake(stream).await?,
        Some(tls) => handshake(until(deadline, FailureKind::Tls, tls.connect(&origin.host, stream)).await?).await?,
    };
    Ok(Connection { sender, served: None })
}

/// Adds the `addresses` of `host` to the failure: the operator may not know what the name resolves to here.
fn refused(host: &str, addresses: Vec<SocketAddr>, failure: Failure) -> Failure {
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut shown = shown.join(", ");
    if host.parse::<IpAddr>().is_err() {
        shown = format!("{shown}, the addresses of `{host}` on this machine");
    }
    let error = Error::new(ErrorKind::Unavailable, shown);
    let error = match failure.source {
        Some(source) => error.with_source(source),
        None => error,
    };
    Failure::new(failure.kind).with_source(error).with_tried(addresses)
}

/// Returns the result of `step`, or a failure of this `kind` if it fails or does not finish before `deadline`.
async fn until<T>(
    deadline: Instant,
    kind: FailureKind,
    step: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    match timeout_at(deadline, step).await {
        Ok(done) => done.map_err(failed(kind)),
        Err(late) => Err(Failure::new(kind).with_source(late)),
    }
}

fn failed(kind: FailureKind) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(kind).with_source(error)
}

pub(super) async fn handshake<S>(stream: S) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Writes head and body from one buffer, as KAZOO does. With vectored writes, hyper does not poll for the next request if the
    // end of the body is flushed only after the response has arrived, so that request would hang.
    let (sender, connection) = http1::Builder::new()
        .writev(false)
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::new(FailureKind::Broken).with_source(BoxError::from(error)))?;
    // The sender learns of errors.
    tokio::spawn(connection);
    Ok(sender)
}
