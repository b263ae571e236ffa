//! Servers on a port of the system's choosing, each of which ends with its test.

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

use super::client::PATIENCE;
use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kazoo_storage::{Body, KazooStorage};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::timeout,
};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};

/// How an application puts the storage service on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// In an axum router, with `nest_service`.
    Axum,
    /// On hyper with no router: `mount` in front of another service, or the service alone where there is no prefix.
    Hyper,
}

/// A server that runs as long as this lives.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    /// How many bytes of bodies the storage service has taken (behind [`Front::Hyper`] alone).
    pub taken: Taken,
    /// How many connections have ended (behind [`Front::Hyper`] alone).
    ended: watch::Receiver<usize>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Serves `storage` at `mount`, which is empty or begins with a slash.
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

    /// Waits until as many connections have ended, and with them whatever was done for their requests.
    pub async fn ended(&mut self, connections: usize) {
        timeout(PATIENCE, self.ended.wait_for(|ended| *ended >= connections))
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
            // Dropped with the task, which ends every connection.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service.clone()));
                let end = end.clone();
                connections.spawn(async move {
                    // How it ended is for the client's side to judge.
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

/// How many bytes were taken from bodies.
#[derive(Clone, Debug, Default)]
pub struct Taken(Arc<AtomicUsize>);

impl Taken {
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A body whose bytes are counted as they are taken.
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
