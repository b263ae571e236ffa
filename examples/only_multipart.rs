//! A single layer: `SplitMultipart` splits KAZOO's multipart uploads in front of an axum handler.
//!
//! ```console
//! cargo run --example only_multipart    # port 8080; `cargo run --example only_multipart 0` takes any free one
//! ```
//!
//! The handler receives the media as the body, the media's own `content-type`, and the JSON as an extension. It stores
//! nothing, and responds with a summary:
//!
//! ```console
//! URL=http://127.0.0.1:8080/upload/message.mp3
//! curl -X PUT -F 'json={"call_id":"b3f6"};type=application/json' -F 'media=@message.mp3;type=audio/mpeg' $URL
//! curl -X PUT -H 'content-type: audio/mpeg' --data-binary @message.mp3 $URL
//! ```

use std::{env, error::Error};

use axum::{
    Extension, Router,
    body::Body,
    extract::Path,
    response::{IntoResponse as _, Response},
    routing::put,
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use kazoo_storage::{Metadata, SplitMultipart};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let app = Router::new()
        .route("/upload/{name}", put(upload).post(upload))
        .layer(SplitMultipart::new());
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

/// Handles an upload without any knowledge of multipart. A plain upload only lacks the metadata.
async fn upload(
    Path(name): Path<String>,
    metadata: Option<Extension<Metadata>>,
    headers: HeaderMap,
    mut media: Body,
) -> Response {
    let mut bytes = 0;
    while let Some(frame) = media.frame().await {
        match frame {
            Ok(frame) => bytes += frame.data_ref().map_or(0, bytes::Bytes::len),
            // The upload was interrupted or is malformed. Returns the layer's response, which names the cause.
            Err(error) => return kazoo_storage::Error::from_body(error).into_response().into_response(),
        }
    }
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let call = metadata.and_then(|Extension(metadata)| metadata.field("call_id"));
    let report = format!(
        "{name}: {bytes} bytes of {}, call {}\n",
        media_type.unwrap_or("an unknown type"),
        call.unwrap_or_default()
    );
    (StatusCode::CREATED, report).into_response()
}
