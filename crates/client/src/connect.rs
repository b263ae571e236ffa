//! Connections, over TCP and over TLS.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{
    failure::{Failure, FailureKind},
    pieces::Pieces,
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

/// Which certificates of servers are trusted. A clone is the same one.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Those that the system trusts.
    pub fn system() -> Result<Self> {
        Self::new(Vec::new())
    }

    /// Those that the system trusts, and those of the authorities in `pem`, which has at least one.
    pub fn with_authorities(pem: &[u8]) -> Result<Self> {
        let authorities: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match authorities {
            Ok(authorities) if !authorities.is_empty() => Self::new(authorities),
            Ok(_) => Err(Error::new(ErrorKind::InvalidRequest, "no certificate in PEM")),
            Err(error) => Err(Error::new(ErrorKind::InvalidRequest, "no certificates in PEM").with_source(error)),
        }
    }

    fn new(authorities: Vec<CertificateDer<'static>>) -> Result<Self> {
        let config = || {
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier = Verifier::new_with_extra_roots(authorities, Arc::clone(&provider))?;
            let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            Ok(config
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
                .with_no_client_auth())
        };
        config()
            .map(|config| Self(Arc::new(config)))
            .map_err(|error: rustls::Error| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    "no certificate can be verified by what the system trusts",
                )
                .with_source(error)
            })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// How much of a body is held besides the body itself on its way out, and the longest head of an answer, in bytes.
const BUFFER: usize = 64 * 1024;

/// One connection.
pub(super) type Sender = SendRequest<Pieces>;

/// Opens a connection to `origin`, within this time in all.
pub(super) async fn open(origin: &Origin, tls: Option<&Tls>, patience: Duration) -> Result<Sender, Failure> {
    let deadline = Instant::now() + patience;
    let addresses = lookup_host((&*origin.host, origin.port));
    let addresses: Vec<_> = until(deadline, FailureKind::Resolve, addresses).await?.collect();
    let stream = until(deadline, FailureKind::Connect, TcpStream::connect(&*addresses)).await;
    let stream = stream.map_err(|failure| nobody(&origin.host, addresses, failure))?;
    stream.set_nodelay(true).map_err(failed(FailureKind::Connect))?;
    let Some(tls) = tls else {
        return speak(stream).await;
    };
    let name = ServerName::try_from(origin.host.clone());
    let name = name.map_err(|error| Failure::new(FailureKind::Tls).with_source(error))?;
    let handshake = TlsConnector::from(Arc::clone(&tls.0)).connect(name, stream);
    speak(until(deadline, FailureKind::Tls, handshake).await?).await
}

/// That none of the `addresses` of `host` takes the connection: what a name is, the one who wrote it may not know.
fn nobody(host: &str, addresses: Vec<SocketAddr>, failure: Failure) -> Failure {
    let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut shown = shown.join(", ");
    if host.parse::<IpAddr>().is_err() {
        shown = format!("{shown}, which is what `{host}` is here");
    }
    let error = Error::new(ErrorKind::Unavailable, shown);
    let error = match failure.source {
        Some(source) => error.with_source(source),
        None => error,
    };
    Failure::new(failure.kind).with_source(error).with_tried(addresses)
}

/// What `step` brings before the `deadline`; a failure of this `kind` if it brings nothing.
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

async fn speak<S>(stream: S) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Head and body in one buffer, as KAZOO writes them. With vectored writes hyper does not look for the next request if the
    // end of the body is flushed only after its answer has come: that request would hang.
    let (sender, connection) = http1::Builder::new()
        .writev(false)
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Failure::new(FailureKind::Broken).with_source(BoxError::from(error)))?;
    // How it ends is told to the sender.
    tokio::spawn(connection);
    Ok(sender)
}
