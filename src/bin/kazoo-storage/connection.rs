//! One connection: HTTP/1.1 by hyper, from its first request to its last.

use std::{convert::Infallible, future::Future};

use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kazoo_storage::{Body, Error, ErrorKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tower::ServiceExt as _;
use tower_service::Service;

use crate::{linger::Lingering, request_body::RequestBody, shutdown::Phase};

/// The most bytes a connection holds of what it reads, and as many of what it writes.
///
/// It is also the longest head of a request: KAZOO's longest is a GET with all of a document's fields in its query,
/// a few kilobytes.
const MAX_BUFFER: usize = 64 * 1024;

/// What answers requests; cloned for each.
pub(crate) trait Handler:
    Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Handler for S where
    S: Service<Request<RequestBody>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Answers every request on `io`, until the client closes or an answer does.
///
/// No timer runs on a connection that waits for a request. KAZOO keeps one open for 120 idle seconds, and an
/// upload that meets the server's own close is lost. hyper's timeout for the head of a request would be such a timer:
/// it starts as soon as the last answer is out.
pub(crate) fn serve<T, S>(
    io: T,
    service: S,
    phase: watch::Receiver<Phase>,
) -> impl Future<Output = hyper::Result<()>> + Send
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Handler,
{
    let service = service_fn(move |request| answer(request, service.clone(), phase.clone()));
    http1::Builder::new()
        .max_buf_size(MAX_BUFFER)
        .half_close(false)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(Lingering::new(io)), service)
}

async fn answer<S: Handler>(
    request: Request<Incoming>,
    service: S,
    mut phase: watch::Receiver<Phase>,
) -> Result<Response<Body>, Infallible> {
    let (head, incoming) = request.into_parts();
    let (body, whole) = RequestBody::new(incoming);
    let mut response = tokio::select! {
        // What is done at once is answered even at the very end.
        biased;
        response = service.oneshot(Request::from_parts(head, body)) => response?,
        _ = phase.wait_for(|phase| *phase == Phase::Ending) => interrupted().into_response(),
    };
    if !whole.get() || *phase.borrow() != Phase::Serving {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    Ok(response)
}

fn interrupted() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the storage server is being stopped; nothing was stored, send the request again",
    )
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use http_body_util::BodyExt as _;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
        net::{TcpListener, TcpStream},
        task::JoinHandle,
    };

    use super::*;

    fn handler<F>(answer: impl Fn(Request<RequestBody>) -> F + Clone + Send + 'static) -> impl Handler
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        tower::service_fn(move |request| {
            let response = answer(request);
            async { Ok(response.await) }
        })
    }

    fn refusal() -> Response<Body> {
        Error::new(ErrorKind::TooLarge, "too large").into_response()
    }

    async fn read_body(request: Request<RequestBody>) -> Response<Body> {
        let body = request.into_body().collect().await.unwrap();
        Response::new(Body::from(body.to_bytes().len().to_string()))
    }

    /// A client's end of a connection in memory, and the phases.
    fn connect(service: impl Handler) -> (DuplexStream, watch::Sender<Phase>, JoinHandle<hyper::Result<()>>) {
        let (client, server) = duplex(64 * 1024);
        let (phases, phase) = watch::channel(Phase::Serving);
        let connection = tokio::spawn(serve(server, service, phase));
        (client, phases, connection)
    }

    /// One answer whose length is declared.
    async fn response<T: AsyncRead + Unpin>(client: &mut T) -> String {
        let mut text = String::new();
        let length = loop {
            text.push(char::from(client.read_u8().await.unwrap()));
            if text.ends_with("\r\n\r\n") {
                let (_, length) = text.split_once("content-length: ").unwrap();
                break length.lines().next().unwrap().parse().unwrap();
            }
        };
        let mut body = vec![0; length];
        client.read_exact(&mut body).await.unwrap();
        text + std::str::from_utf8(&body).unwrap()
    }

    /// With the clock paused, every timer there is would fire while the test sleeps.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_stays_open() {
        let (mut client, _phases, connection) = connect(handler(read_body));
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
            assert!(!connection.is_finished());
            client
                .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody")
                .await
                .unwrap();
            let response = response(&mut client).await;
            assert!(
                response.starts_with("HTTP/1.1 200 ") && response.ends_with('4'),
                "{response}"
            );
            assert!(!response.contains("connection:"), "{response}");
        }
    }

    #[tokio::test]
    async fn answers_close_the_connection_once_the_server_drains() {
        let (mut client, phases, connection) = connect(handler(read_body));
        phases.send_replace(Phase::Draining);
        client
            .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody")
            .await
            .unwrap();
        let response = response(&mut client).await;
        assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        drop(client);
        connection.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_is_cut_off_is_asked_for_again() {
        let (mut client, phases, connection) = connect(handler(|_| pending()));
        client
            .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n")
            .await
            .unwrap();
        phases.send_replace(Phase::Ending);
        let response = response(&mut client).await;
        assert!(response.starts_with("HTTP/1.1 503 "), "{response}");
        assert!(response.contains("retry-after: 5\r\n"), "{response}");
        assert!(response.contains("connection: close\r\n"), "{response}");
        drop(client);
        connection.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_refusal_before_the_body_closes_the_connection_and_says_so() {
        let (mut client, _phases, connection) = connect(handler(|_| async { refusal() }));
        client
            .write_all(b"PUT / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n")
            .await
            .unwrap();
        let response = response(&mut client).await;
        assert!(response.contains("connection: close\r\n"), "{response}");
        drop(client);
        connection.await.unwrap().unwrap();
    }

    /// A client that writes all of a body that nobody wants before it reads, as KAZOO does.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_refusal_is_read_by_who_writes_everything_first() {
        const BODY: usize = 64 * 1024 * 1024;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_phases, phase) = watch::channel(Phase::Serving);
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, handler(|_| async { refusal() }), phase.clone()));
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
