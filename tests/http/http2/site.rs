//! A server that counts its requests, and a client that sends frames.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use axum::Router;
use http::{Request, Response, StatusCode};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use kazoo_storage::Body;
use kazoo_storage_test_support::client::TIMEOUT;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower::Service;

use super::frames::frame;

/// Number of requests started and ended, and the statuses of those that ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) begun: usize,
    pub(super) over: usize,
    pub(super) statuses: Vec<StatusCode>,
}

/// A service that counts its requests.
#[derive(Clone)]
pub(super) struct Counted<S> {
    pub(super) inner: S,
    pub(super) progress: watch::Sender<Progress>,
}

/// Records the end of a request, even if its future is dropped.
pub(super) struct Over(watch::Sender<Progress>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.send_modify(|progress| progress.over += 1);
    }
}

impl<S, B> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.progress.send_modify(|progress| progress.begun += 1);
        let over = Over(self.progress.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            over.0.send_modify(|progress| progress.statuses.push(answer.status()));
            Ok(answer)
        })
    }
}

/// A server that stops when it is dropped.
pub(super) struct Site {
    pub(super) address: SocketAddr,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) task: AbortHandle,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Axum,
    Hyper,
}

pub(super) const FRONTS: [Front; 2] = [Front::Axum, Front::Hyper];

impl Site {
    pub(super) async fn start<S>(front: Front, service: S) -> Self
    where
        S: Service<Request<axum::body::Body>, Response = Response<Body>, Error = Infallible>,
        S: Service<Request<hyper::body::Incoming>, Response = Response<Body>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        <S as Service<Request<axum::body::Body>>>::Future: Send + 'static,
        <S as Service<Request<hyper::body::Incoming>>>::Future: Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, progress) = watch::channel(Progress::default());
        let service = Counted {
            inner: service,
            progress: sender,
        };
        let task = match front {
            Front::Axum => {
                let router = Router::new().fallback_service(service);
                tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
            }
            Front::Hyper => tokio::spawn(async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let connection = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
                    connections.spawn(async move { drop(connection.await) });
                }
            }),
        };
        Self {
            address,
            progress,
            task: task.abort_handle(),
        }
    }

    /// Sends `frames` on a new connection, in one write or in one write each. Waits until every request
    /// has ended, and returns the statuses of those that were answered.
    pub(super) async fn exchange(&mut self, frames: &[Vec<u8>], at_once: bool, answered: bool) -> Vec<StatusCode> {
        let before = self.progress.borrow_and_update().clone();
        let mut connection = Connection::open(self.address).await;
        if at_once {
            connection.stream.write_all(&frames.concat()).await.unwrap();
        } else {
            for frame in frames {
                // A server that has received GOAWAY may stop reading.
                let _ = connection.stream.write_all(frame).await;
                connection.ping().await;
            }
        }
        if answered {
            connection.answer().await;
        }
        connection.close().await;
        let over = self.progress.wait_for(|progress| progress.over == progress.begun);
        let after = timeout(TIMEOUT, over).await.expect("every request ends").unwrap();
        after.statuses[before.statuses.len()..].to_vec()
    }
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat();
        stream.write_all(&preface).await.unwrap();
        Self { stream }
    }

    /// The type, flags and stream of the next frame, or `None` at the end.
    pub(super) async fn receive(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        Some((head[3], head[4], u32::from_be_bytes(head[5..].try_into().unwrap())))
    }

    /// Waits until the server has read everything sent so far, or has closed the connection.
    pub(super) async fn ping(&mut self) {
        let _ = self.stream.write_all(&frame(6, 0, 0, &[7; 8])).await;
        let pong = async { while !matches!(self.receive().await, Some((6, 1, _)) | None) {} };
        timeout(TIMEOUT, pong).await.expect("the server answers a ping");
    }

    /// Waits for the head of the response.
    pub(super) async fn answer(&mut self) {
        let head = async { while !matches!(self.receive().await, Some((1, _, 1)) | None) {} };
        timeout(TIMEOUT, head).await.expect("the server answers");
    }

    /// Ends the connection, and waits until the server has closed it.
    pub(super) async fn close(mut self) {
        let _ = self.stream.shutdown().await;
        let end = async { while self.receive().await.is_some() {} };
        timeout(TIMEOUT, end).await.expect("the server closes the connection");
    }
}
