//! An axum application with KAZOO's storage backend, a route of its own and a tower-http layer.
//!
//! ```console
//! cargo run --example axum              # port 8080, files in ./data
//! cargo run --example axum 0 /tmp/data  # any free port, files elsewhere
//! ```
//!
//! Then upload and fetch a file as KAZOO does. KAZOO since 4.3.106 fetches it with the path doubled:
//!
//! ```console
//! curl -i -T message.mp3 -H 'content-type: audio/mpeg' http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! curl -i 'http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3/ACC/202401-DOC/message.mp3?folder=new'
//! curl -i http://127.0.0.1:8080/health
//! ```
//!
//! `RUST_LOG=debug` logs each request.

use std::{env, error::Error, time::Duration};

use axum::{Router, routing::get};
use http::{Request, Response};
use kazoo_storage::{FsStore, KazooStorage, Outcome};
use tokio::net::TcpListener;
use tower_http::trace::TraceLayer;
use tracing::{Span, field};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(8080), |port| port.parse())?;
    let root = args.next().unwrap_or_else(|| "data".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();

    let storage = KazooStorage::new(FsStore::open(root)?).into_service();
    // Logs the key of the file instead of the URI, which contains callers' names and numbers, and perhaps a token.
    let trace = TraceLayer::new_for_http()
        .make_span_with(
            |request: &Request<_>| tracing::debug_span!("request", method = %request.method(), key = field::Empty),
        )
        .on_response(|response: &Response<_>, latency: Duration, span: &Span| {
            if let Some(key) = response.extensions().get().and_then(Outcome::key) {
                span.record("key", field::display(key));
            }
            tracing::debug!(status = response.status().as_u16(), ?latency, "finished");
        });
    let app = Router::new()
        .route("/health", get(|| async { "the rest of the application" }))
        .nest_service("/some_prefix", storage)
        .layer(trace);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
