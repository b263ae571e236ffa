//! The admin endpoint: `/metrics`, `/healthz`, `/readyz`, and the API for operators below `/v1/`.
//!
//! It runs as long as the process, so it answers while the store is being opened and while the server drains.

mod api;
mod connections;
mod listener;
mod metrics;
mod readiness;
mod token;

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use kazoo_storage::{Body, Error, ErrorKind};
use serde_json::json;
use tokio::time::sleep;

pub(crate) use self::{
    api::{Api, Storage, audit_json, hex},
    connections::DESCRIPTORS,
    listener::Listener,
    metrics::Exporter,
    readiness::Readiness,
    token::Token,
};
use self::{
    connections::{Call, Connections},
    listener::Stream,
};

/// Time limit for the head of the request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The state of the admin endpoint.
pub(crate) struct Admin {
    pub(crate) exporter: Exporter,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) api: Arc<Api>,
}

/// Serves `listener` until the process ends.
pub(crate) async fn serve(listener: Listener, admin: Admin) {
    let admin = Arc::new(admin);
    let mut open = Connections::new();
    loop {
        let Ok((stream, local, peer)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let admin = Arc::clone(&admin);
        open.add(local, peer, |call| async move {
            let _ = connection(stream, &admin, &call).await;
        });
    }
}

/// Serves the calls of the API on a connection, or a single other request, so that no idle connection occupies a slot for
/// probes. A connection that is idle ends with the time limit for a head.
async fn connection(stream: Box<dyn Stream>, admin: &Admin, call: &Call) -> hyper::Result<()> {
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(
            TokioIo::new(stream),
            service_fn(async |request: Request<Incoming>| {
                call.state.asked();
                let mut response = admin.answer(request, call).await;
                if !call.is_admitted() {
                    let headers = response.headers_mut();
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }),
        )
        .await
}

impl Admin {
    async fn answer(&self, request: Request<Incoming>, call: &Call) -> Response<Body> {
        if Api::serves(request.uri().path()) {
            return self.api.answer(request, call).await;
        }
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
                let message = "the admin address serves /metrics, /healthz, /readyz and the API below /v1/; files are served at the address of --listen";
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
