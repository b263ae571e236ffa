//! A proxy in front of a storage, or a server in its place, that breaks something.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kazoo_storage::{Body, KazooStorage};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};
use tower::{Layer as _, ServiceExt as _, util::BoxCloneSyncService};

/// The decision on a request.
pub(crate) enum Turn {
    /// Forwards this request to the storage.
    Pass(Request<Bytes>),
    /// Sends this response instead.
    Answer(Response<Bytes>),
}

/// Decides on a request.
pub(crate) type Before = Box<dyn Fn(Request<Bytes>) -> Turn + Send + Sync>;

/// Changes the storage's response to a request with this method and target.
pub(crate) type After = Box<dyn Fn(&Method, &str, Response<Bytes>) -> Response<Bytes> + Send + Sync>;

pub(crate) struct Front {
    pub(crate) before: Before,
    pub(crate) after: After,
    /// Timeout after which an idle connection is closed.
    pub(crate) idle: Option<Duration>,
}

impl Default for Front {
    fn default() -> Self {
        Self {
            before: Box::new(Turn::Pass),
            after: Box::new(|_, _, answer| answer),
            idle: None,
        }
    }
}

impl Front {
    pub(crate) fn before(before: impl Fn(Request<Bytes>) -> Turn + Send + Sync + 'static) -> Self {
        Self {
            before: Box::new(before),
            ..Self::default()
        }
    }

    /// Answers every request with `answer`.
    pub(crate) fn answering(answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        Self::before(move |request| Turn::Answer(answer(&request)))
    }

    pub(crate) fn after(
        after: impl Fn(&Method, &str, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self {
            after: Box::new(after),
            ..Self::default()
        }
    }
}

/// A running front and its storage.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Returns the URL of the storage, with credentials.
    pub(crate) fn url(&self) -> String {
        format!("http://kazoo:{}@{}/some_prefix", super::SECRET, self.address)
    }
}

/// Serves `storage` at `mount`, behind `front`.
pub(crate) async fn start(front: Front, storage: KazooStorage, mount: &str) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let nothing = tower::service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(page(StatusCode::NOT_FOUND, "nothing here").map(Body::from))
    });
    let storage = BoxCloneSyncService::new(storage.mount(mount).layer(nothing));
    let front = Arc::new(front);
    let task = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (storage, front) = (storage.clone(), front.clone());
            let mut http = http1::Builder::new();
            if let Some(idle) = front.idle {
                http.timer(TokioTimer::new()).header_read_timeout(idle);
            }
            let service = service_fn(move |request: Request<Incoming>| answer(front.clone(), storage.clone(), request));
            let connection = http.serve_connection(TokioIo::new(stream), service);
            connections.spawn(async move {
                let _ = connection.await;
            });
        }
    });
    Running {
        address,
        task: task.abort_handle(),
    }
}

async fn answer(
    front: Arc<Front>,
    storage: BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, Infallible>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, body.collect().await?.to_bytes());
    let (method, target) = (request.method().clone(), request.uri().to_string());
    let answer = match (front.before)(request) {
        Turn::Pass(request) => {
            let Ok(answer) = storage.oneshot(request.map(Full::new)).await;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            (front.after)(&method, &target, Response::from_parts(head, body))
        }
        Turn::Answer(answer) => answer,
    };
    Ok(answer.map(Full::new))
}

/// A page like those of proxies.
pub(crate) fn page(status: StatusCode, says: &str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .header("content-type", "text/html")
        .header("server", "nginx/1.26.3")
        .body(format!("<html><title>{says}</title><body><h1>{says}</h1></body></html>").into())
        .unwrap()
}
