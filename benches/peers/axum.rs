//! A peer for comparison, as a user of axum would write it: `axum::extract::Multipart`, one-shot base64 and
//! `tokio::fs::write`.
//!
//! `peer_axum PORT DIR` stores the media of KAZOO's multipart uploads under DIR, decoded, and their JSON beside it.

use std::{error::Error, path::PathBuf};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Multipart, Path, State},
    http::StatusCode,
    routing::put,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

async fn store(
    State(dir): State<PathBuf>,
    Path(path): Path<String>,
    mut multipart: Multipart,
) -> Result<StatusCode, (StatusCode, String)> {
    let bad = |error: &dyn Error| (StatusCode::BAD_REQUEST, error.to_string());
    let mut parts = Vec::new();
    while let Some(field) = multipart.next_field().await.map_err(|error| bad(&error))? {
        parts.push(field.bytes().await.map_err(|error| bad(&error))?);
    }
    let [json, media] = &*parts else {
        return Err((StatusCode::BAD_REQUEST, "expected two parts".to_owned()));
    };
    let media = STANDARD.decode(media).map_err(|error| bad(&error))?;
    let target = dir.join(path);
    if let Some(parent) = target.parent() {
        tokio::fs::create_dir_all(parent).await.map_err(|error| bad(&error))?;
    }
    tokio::fs::write(&target, media).await.map_err(|error| bad(&error))?;
    tokio::fs::write(target.with_extension("json"), json)
        .await
        .map_err(|error| bad(&error))?;
    Ok(StatusCode::CREATED)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(port), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: peer_axum PORT DIR".into());
    };
    let app = Router::new()
        .route("/{*path}", put(store))
        .layer(DefaultBodyLimit::max(1 << 30))
        .with_state(PathBuf::from(dir));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
