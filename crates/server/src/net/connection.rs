//! Serves HTTP/1.1 on one connection.

use std::{convert::Infallible, future::Future, net::SocketAddr};

use futures_util::TryFutureExt as _;
use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kazoo_storage::{Body, PeerAddr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::io::InspectReader;
use tower::{Service, ServiceExt as _};

use super::{
    heads::Heads,
    linger::Lingering,
    timeouts::{Answer, Busy, TimeoutIo},
};
use crate::config::Timeouts;

/// The limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) timeouts: Timeouts,
    /// Size of the read buffer and of the write buffer, in bytes, and thus the maximum length of a request head. KAZOO's
    /// longest head is a GET with all fields of a document in its query, a few kilobytes.
    pub(crate) max_head: usize,
}

/// The origin of an accepted connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) peer: SocketAddr,
    pub(crate) since: Instant,
}

/// A service that answers requests; cloned for each request.
pub(crate) trait Handler:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// Answers the requests on `io` until the client or a response closes the connection, or a timeout expires.
///
/// KAZOO keeps an idle connection open for 120 seconds, and loses an upload that it sends while the server closes the
/// connection. hyper's own timeout for heads starts when the last response is sent, so it is not used.
pub(crate) fn serve<T, S>(
    io: T,
    accepted: Accepted,
    bounds: Bounds,
    service: S,
) -> impl Future<Output = hyper::Result<()>> + Send
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Handler,
{
    let Accepted { peer, since } = accepted;
    let busy = Busy::default();
    let io = TimeoutIo::new(Lingering::new(io), bounds.timeouts, busy.clone(), since);
    let heads = Heads::new(bounds.max_head);
    let read = heads.clone();
    let io = InspectReader::new(io, move |bytes| read.scan(bytes));
    http1::Builder::new()
        .max_buf_size(bounds.max_head)
        .half_close(false)
        .header_read_timeout(None)
        .serve_connection(
            TokioIo::new(io),
            service_fn(move |mut request: Request<Incoming>| {
                let answering = busy.begin();
                request.extensions_mut().insert(PeerAddr(peer));
                if let Some(fault) = heads.check(&request) {
                    request.extensions_mut().insert(fault);
                }
                let answer = service.clone().oneshot(request);
                answer.map_ok(|response| response.map(|body| Answer::new(body, answering)))
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
    const BOUNDS: Bounds = Bounds {
        timeouts: Timeouts {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(150),
            stall: Duration::from_secs(30),
        },
        max_head: 64 * 1024,
    };

    fn accepted() -> Accepted {
        Accepted {
            peer: PEER,
            since: Instant::now(),
        }
    }

    async fn refuse(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        Ok(Error::new(ErrorKind::TooLarge, "too large").to_response())
    }

    async fn read(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let body = request.into_body().collect().await.unwrap();
        Ok(Response::new(body.to_bytes().into()))
    }

    /// With the clock paused, all timers fire while the test sleeps.
    #[tokio::test(start_paused = true)]
    async fn keeps_an_idle_connection_longer_than_kazoo() {
        let (mut client, server) = duplex(64 * 1024);
        let connection = tokio::spawn(serve(server, accepted(), BOUNDS, tower::service_fn(read)));
        for wait in [9, 126, 149] {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            assert!(!connection.is_finished(), "{wait}");
            let request = b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody";
            client.write_all(request).await.unwrap();
            let mut response = String::new();
            while !response.ends_with("\r\n\r\nbody") {
                response.push(char::from(client.read_u8().await.unwrap()));
            }
            assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
            assert!(!response.contains("connection:"), "{response}");
        }
        // The client sees the end of the stream.
        assert_eq!(client.read(&mut [0; 10]).await.unwrap(), 0);
        drop(client);
        connection.await.unwrap().unwrap();
    }

    /// The timeouts for heads and for idle connections are distinct on one connection.
    #[tokio::test(start_paused = true)]
    async fn refuses_a_slow_head_after_another_request() {
        let (mut client, server) = duplex(64 * 1024);
        tokio::spawn(serve(server, accepted(), BOUNDS, tower::service_fn(read)));
        client
            .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let start = Instant::now();
        client.write_all(b"PUT / HTTP/1.1\r\n").await.unwrap();
        let mut answers = String::new();
        client.read_to_string(&mut answers).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 10);
        assert!(answers.contains("\r\n\r\nbodyHTTP/1.1 408 "), "{answers}");
    }

    /// KAZOO writes the whole body of a refused request before it reads.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_client_that_writes_the_whole_body_first_reads_the_refusal() {
        const BODY: usize = 64 * 1024 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, peer) = listener.accept().await.unwrap();
                let accepted = Accepted {
                    peer,
                    since: Instant::now(),
                };
                tokio::spawn(serve(stream, accepted, BOUNDS, tower::service_fn(refuse)));
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
