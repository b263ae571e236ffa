//! The operator's own address: `/metrics`, `/healthz` and `/readyz`.
//!
//! It lives for as long as the process does, so it answers while the store is being opened and while the server drains.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kazoo_storage::{Body, Error, ErrorKind};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{exporter::Exporter, readiness::Readiness};

/// Whoever scrapes and probes is few.
const CONNECTIONS: usize = 64;

/// How long a connection may take for its one request.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the head of the request may take of that.
const HEAD: Duration = Duration::from_secs(5);

/// How long to wait after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the operator can ask.
pub(crate) struct Admin {
    pub(crate) exporter: Exporter,
    pub(crate) readiness: Arc<Readiness>,
}

/// Answers on `listener`, for ever.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) {
    let admin = Arc::new(admin);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        tokio::spawn(async move {
            let _place = place;
            let _ = timeout(PATIENCE, connection(stream, &admin)).await;
        });
    }
}

/// One request: who asks for another connects again, and no idle connection takes a place.
async fn connection(stream: TcpStream, admin: &Admin) -> hyper::Result<()> {
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(admin.answer(&request).await)),
        )
        .await
}

impl Admin {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Error::new(ErrorKind::MethodNotAllowed, "the admin address answers GET and HEAD").into_response();
        }
        match request.uri().path() {
            "/metrics" => {
                let ready = self.readiness.verdict().await.is_ok();
                let mut response = Response::new(Body::from(self.exporter.render(ready)));
                let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(header::CONTENT_TYPE, text);
                response
            }
            "/healthz" => json(StatusCode::OK, &json!({"status": "alive"})),
            "/readyz" => match self.readiness.verdict().await {
                Ok(()) => json(StatusCode::OK, &json!({"status": "ready"})),
                Err(because) => json(
                    StatusCode::SERVICE_UNAVAILABLE,
                    &json!({"status": "not ready", "reason": because.reason, "message": because.message}),
                ),
            },
            _ => {
                let message = "the admin address has /metrics, /healthz and /readyz; files are at that of --listen";
                Error::new(ErrorKind::NotFound, message).into_response()
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
