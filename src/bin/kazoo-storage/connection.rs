//! One connection: HTTP/1.1 by hyper, from its first request to its last.

use std::{convert::Infallible, future::Future, net::SocketAddr};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kazoo_storage::{Body, PeerAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tower::{Service, ServiceExt as _};

use crate::linger::Lingering;

/// The most bytes a connection holds of what it reads, and as many of what it writes.
///
/// It is also the longest head of a request. KAZOO's longest is that of a GET with all of a document's fields in its
/// query, a few kilobytes.
const MAX_BUFFER: usize = 64 * 1024;

/// What answers requests; cloned for each.
pub(crate) trait Handler:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Answers every request of `peer` on `io`, until the client closes it or an answer does.
///
/// No timer runs on a connection that waits for a request. KAZOO keeps one open for 120 idle seconds, and an
/// upload that meets the server's own close is lost. hyper's timeout for the head of a request would be such a timer:
/// it starts as soon as the last answer is out.
pub(crate) fn serve<T, S>(io: T, peer: SocketAddr, service: S) -> impl Future<Output = hyper::Result<()>> + Send
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Handler,
{
    http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .half_close(false)
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(Lingering::new(io)),
            service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                service.clone().oneshot(request)
            }),
        )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt as _;
    use kazoo_storage::{Error, ErrorKind};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4711);

    async fn refuse(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        Ok(Error::new(ErrorKind::TooLarge, "too large").into_response())
    }

    async fn read(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let body = request.into_body().collect().await.unwrap();
        Ok(Response::new(body.to_bytes().into()))
    }

    /// With the clock paused, every timer there is fires while the test sleeps.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_stays_open() {
        let (mut client, server) = duplex(64 * 1024);
        let connection = tokio::spawn(serve(server, PEER, tower::service_fn(read)));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
            assert!(!connection.is_finished());
            let request = b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody";
            client.write_all(request).await.unwrap();
            let mut response = String::new();
            while !response.ends_with("\r\n\r\nbody") {
                response.push(char::from(client.read_u8().await.unwrap()));
            }
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
            assert!(!response.contains("connection:"), "{response}");
        }
    }

    /// A client that writes all of a body that nobody wants before it reads, as KAZOO does.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_refusal_is_read_by_who_writes_everything_first() {
        const BODY: usize = 64 * 1024 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, peer, tower::service_fn(refuse)));
            }
        });
        let body = vec![0; BODY];
        for round in 0..20 {
            let mut client = TcpStream::connect(address).await.unwrap();
            let head = format!("PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: {BODY}\r\n\r\n");
            client.write_all(head.as_bytes()).await.unwrap();
            client.write_all(&body).await.unwrap();
            let mut response = String::new();
            client.read_to_string(&mut response).await.unwrap();
            assert!(response.starts_with("HTTP/1.1 413 "), "round {round}: {response}");
        }
        accepting.abort();
    }
}
