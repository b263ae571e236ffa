//! The admin endpoint: `/metrics`, `/healthz` and `/readyz`.
//!
//! It runs as long as the process, so it answers while the store is being opened and while the server drains.

mod metrics;
mod readiness;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kazoo_storage::{Body, Error, ErrorKind};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::{sleep, timeout},
};

pub(crate) use self::{metrics::Exporter, readiness::Readiness};

/// The maximum number of connections. Another one closes the oldest that has not sent a request, or else the oldest.
const CONNECTIONS: usize = 64;

/// Time limit for a connection, which has one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Time limit for the head of the request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sources of the answers.
pub(crate) struct Admin {
    pub(crate) exporter: Exporter,
    pub(crate) readiness: Arc<Readiness>,
}

/// The open connections, oldest first.
#[derive(Default)]
struct Connections(Vec<Connection>);

struct Connection {
    task: AbortHandle,
    asked: Arc<AtomicBool>,
}

impl Connections {
    /// Frees a slot for a new connection. A probe must not wait for idle connections.
    fn make_room(&mut self) {
        self.0.retain(|connection| !connection.task.is_finished());
        if self.0.len() >= CONNECTIONS {
            let idle = |connection: &Connection| !connection.asked.load(Ordering::Relaxed);
            let at = self.0.iter().position(idle).unwrap_or_default();
            self.0.remove(at).task.abort();
        }
    }
}

/// Serves `listener` until the process ends.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) {
    let admin = Arc::new(admin);
    let mut open = Connections::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        open.make_room();
        let (admin, asked) = (Arc::clone(&admin), Arc::<AtomicBool>::default());
        let task = tokio::spawn({
            let asked = Arc::clone(&asked);
            async move {
                let _ = timeout(TIMEOUT, connection(stream, &admin, &asked)).await;
            }
        });
        let task = task.abort_handle();
        open.0.push(Connection { task, asked });
    }
}

/// Serves a single request, so that no idle connection occupies a slot.
async fn connection(stream: TcpStream, admin: &Admin, asked: &AtomicBool) -> hyper::Result<()> {
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(async |request: Request<Incoming>| {
                asked.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(admin.answer(&request).await)
            }),
        )
        .await
}

impl Admin {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Error::new(ErrorKind::MethodNotAllowed, "the admin address answers GET and HEAD").to_response();
        }
        match request.uri().path() {
            "/metrics" => {
                let ready = self.readiness.check().await.is_ok();
                let mut response = Response::new(Body::from(self.exporter.render(ready)));
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                response
            }
            "/healthz" => json(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => match self.readiness.check().await {
                Ok(()) => json(StatusCode::OK, &json!({"status": "ready"})),
                Err(because) => json(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({"status": "not ready", "reason": because.reason, "message": because.message}),
                ),
            },
            _ => {
                let message = "the admin address serves /metrics, /healthz and /readyz; files are served at the address of --listen";
                Error::new(ErrorKind::NotFound, message).to_response()
            }
        }
    }
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
