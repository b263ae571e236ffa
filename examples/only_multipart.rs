//! A single layer: `SplitMultipart` splits KAZOO's multipart uploads in front of an axum handler.
//!
//! ```console
//! cargo run --example only_multipart --features axum    # port 8080
//! cargo run --example only_multipart --features axum 0  # any free port
//! ```
//!
//! The handler receives the media as the body, the media's own `content-type`, and the JSON as an extractor. It stores
//! nothing, and responds with a summary:
//!
//! ```console
//! URL=http://127.0.0.1:8080/upload/message.mp3
//! curl -X PUT -F 'json={"call_id":"b3f6"};type=application/json' -F 'media=@message.mp3;type=audio/mpeg' $URL
//! curl -X PUT -H 'content-type: audio/mpeg' --data-binary @message.mp3 $URL
//! ```

use std::env;

use axum::{Router, extract::Path, routing::put};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{Body, ConfirmBody, Error, Metadata, SplitMultipart};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    // `ConfirmBody` is innermost: no mistake in the handler acknowledges an upload that is incomplete or malformed.
    let layers = ServiceBuilder::new()
        .layer(SplitMultipart::new())
        .layer(ConfirmBody::new());
    let app = Router::new()
        .route("/upload/{name}", put(upload).post(upload))
        .layer(layers);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Handles an upload without any knowledge of multipart. A plain upload only lacks the metadata.
async fn upload(
    Path(name): Path<String>,
    metadata: Option<Metadata>,
    headers: HeaderMap,
    mut media: Body,
) -> Result<(StatusCode, String), Error> {
    let mut bytes = 0;
    // An error means that the upload was interrupted or is malformed. Its response names the cause.
    while let Some(frame) = media.frame().await.transpose()? {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let call = metadata.and_then(|metadata| metadata.field("call_id"));
    let report = format!(
        "{name}: {bytes} bytes of {}, call {}\n",
        media_type.unwrap_or("an unknown type"),
        call.unwrap_or_default()
    );
    Ok((StatusCode::CREATED, report))
}
