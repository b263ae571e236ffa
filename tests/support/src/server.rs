//! Servers on a free port, which stop when they are dropped.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use super::client::TIMEOUT;
use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kazoo_storage::{Body, KazooStorage};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

/// The server in which the storage service runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// In an axum router, with `nest_service`.
    Axum,
    /// On hyper without a router: `mount` in front of another service, or the service alone without a prefix.
    Hyper,
}

/// A server that stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    /// Number of body bytes that the service has read (only with [`Front::Hyper`]).
    pub taken: Taken,
    /// Number of connections that have ended (only with [`Front::Hyper`]).
    ended: watch::Receiver<usize>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves `storage` at `mount`, which is empty or starts with a slash.
    pub async fn start(front: Front, mount: &str, storage: KazooStorage) -> Self {
        match (front, mount) {
            (Front::Axum, "") => Self::axum(Router::new().fallback_service(storage.into_service())).await,
            (Front::Axum, mount) => Self::axum(Router::new().nest_service(mount, storage.into_service())).await,
            (Front::Hyper, "") => Self::hyper(storage.into_service()).await,
            (Front::Hyper, mount) => {
                let elsewhere = service_fn(async |_: Request<_>| {
                    let mut answer = Response::new(Body::from("not a file of KAZOO's"));
                    *answer.status_mut() = StatusCode::NOT_FOUND;
                    Ok::<_, Infallible>(answer)
                });
                Self::hyper(ServiceBuilder::new().layer(storage.mount(mount)).service(elsewhere)).await
            }
        }
    }

    /// Waits until this many connections, and all work for their requests, have ended.
    pub async fn ended(&mut self, connections: usize) {
        timeout(TIMEOUT, self.ended.wait_for(|ended| *ended >= connections))
            .await
            .expect("every connection ends")
            .unwrap();
    }

    pub async fn axum(router: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            address,
            taken: Taken::default(),
            ended: watch::channel(0).1,
            task: task.abort_handle(),
        }
    }

    pub async fn hyper<S, ResBody>(service: S) -> Self
    where
        S: Service<Request<Counted<Incoming>>, Response = Response<ResBody>, Error = Infallible>,
        S: Clone + Send + 'static,
        S::Future: Send,
        ResBody: HttpBody<Data = Bytes> + Send + 'static,
        ResBody::Error: std::error::Error + Send + Sync,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = watch::channel(0);
        let taken = Taken::default();
        let counter = taken.clone();
        let service = service.map_request(move |request: Request<Incoming>| {
            request.map(|body| Counted {
                body,
                taken: counter.clone(),
            })
        });
        let task = tokio::spawn(async move {
            // Dropping the task ends every connection.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
                let end = end.clone();
                connections.spawn(async move {
                    // The client checks how the connection ends.
                    let _ = connection.await;
                    end.send_modify(|ended| *ended += 1);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            taken,
            ended,
            task: task.abort_handle(),
        }
    }
}

/// Returns an address of this machine that refuses connections, as long as the socket is not dropped.
pub fn refusing_address() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    // It is bound, so that no other socket gets the port, and does not listen.
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Number of bytes read from bodies.
#[derive(Clone, Debug, Default)]
pub struct Taken(Arc<AtomicUsize>);

impl Taken {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body that counts the bytes that are read.
#[derive(Debug)]
pub struct Counted<B> {
    body: B,
    taken: Taken,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.taken.0.fetch_add(data.len(), Ordering::SeqCst);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
