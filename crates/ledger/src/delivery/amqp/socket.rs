//! [`Socket`]: the TCP connection to a broker.

use std::{
    future, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_rs::{Tokio, traits::Reactor};
use futures_core::Stream;
use futures_io::{AsyncRead, AsyncWrite};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use rustls_platform_verifier::Verifier;
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
    sync::oneshot,
    time::Sleep,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::exchange::AmqpExchange;
use crate::delivery::resolver::Resolver;

/// A connection, with or without TLS, that its owner can close at any time.
///
/// `lapin` waits without a time limit for a broker that does not answer.
pub(super) struct Socket {
    stream: Transport,
    /// Completes when the socket is to be closed.
    closed: oneshot::Receiver<()>,
}

enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Connects to the broker of `exchange`. Dropping the sender closes the socket.
    pub(super) async fn connect(
        exchange: &AmqpExchange,
        tls: Option<&TlsConnector>,
        resolver: &Resolver,
    ) -> io::Result<(Self, oneshot::Sender<()>)> {
        let addresses = resolver.look_up(exchange.host.clone(), exchange.port).await?;
        let stream = TcpStream::connect(&*addresses).await?;
        stream.set_nodelay(true)?;
        let stream = match tls {
            None => Transport::Plain(stream),
            Some(tls) => {
                let name = ServerName::try_from(exchange.host.clone()).map_err(io::Error::other)?;
                Transport::Tls(Box::new(tls.connect(name, stream).await?))
            }
        };
        let (close, closed) = oneshot::channel();
        Ok((Self { stream, closed }, close))
    }

    fn check_open(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match Pin::new(&mut self.closed).poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Prepares TLS for `exchange`.
pub(super) fn tls(exchange: &AmqpExchange) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = if exchange.authorities.is_empty() {
        let verifier = Verifier::new(provider)?;
        config.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    } else {
        let mut roots = RootCertStore::empty();
        for authority in &exchange.authorities {
            roots.add(authority.clone())?;
        }
        config.with_root_certificates(roots)
    };
    Ok(TlsConnector::from(Arc::new(config.with_no_client_auth())))
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.check_open(cx)?;
        let mut buffer = ReadBuf::new(buffer);
        let read = match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
        };
        read.map_ok(|()| buffer.filled().len())
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// The timers of Tokio, with [`Socket`] as the type of connections, which are made before `lapin` is started.
#[derive(Clone, Debug)]
pub(super) struct Sockets(pub(super) Tokio);

impl Reactor for Sockets {
    type TcpStream = Socket;
    type Sleep = Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<Socket, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(&self, _address: SocketAddr) -> impl Future<Output = io::Result<Socket>> + Send + 'static {
        future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
