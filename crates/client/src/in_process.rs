//! A service in the same process as the transport of a client.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use kazoo_storage::error::BoxError;
use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
};
use tower_service::Service;

use super::{
    connect::{Connection, handshake},
    failure::Failure,
};

/// Bytes that one side may write before the other reads, as in the buffer of a socket.
const BUFFER: usize = 64 * 1024;

/// A tower service that can answer a [`Client`](super::Client) in the same process.
///
/// Every `Service<Request<Incoming>>` that can be cloned and shared is one, such as `axum::Router` and the services of
/// `KazooStorage`.
pub trait LocalService:
    Service<Request<Incoming>, Response = Response<Self::ResponseBody>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its responses.
    type ResponseBody: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> LocalService for S
where
    S: Service<Request<Incoming>, Response = Response<B>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type ResponseBody = B;
}

/// Serves connections with a service.
///
/// A connection is a pipe in memory, with hyper at both ends: the service receives what it would receive from a socket,
/// in the same chunks, with the same target and headers.
#[derive(Clone)]
pub(super) struct InProcess(Arc<dyn Fn(DuplexStream) -> Served + Send + Sync>);

/// The task that serves a connection. It ends with the error of the service or of a response body, if there was one.
pub(super) type Served = JoinHandle<hyper::Result<()>>;

impl InProcess {
    pub(super) fn new(service: impl LocalService) -> Self {
        Self(Arc::new(move |stream| {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service))
        }))
    }

    pub(super) async fn connect(&self) -> Result<Connection, Failure> {
        let (near, far) = duplex(BUFFER);
        let served = (self.0)(far);
        Ok(Connection {
            sender: handshake(near).await?,
            served: Some(served),
        })
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}
