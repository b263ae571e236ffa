//! A peer for comparison, as a careful user of axum would write it: each file is synced under a temporary name, renamed,
//! and its directory is synced.
//!
//! `peer_fsync_each PORT DIR` stores uploads under DIR, and the JSON of each beside it.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as Target, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    routing::put,
};

async fn store(
    State(dir): State<PathBuf>,
    Target(path): Target<String>,
    headers: HeaderMap,
    media: Bytes,
) -> Result<StatusCode, (StatusCode, String)> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let json = format!("{{\"content_type\":{content_type:?},\"length\":{}}}\n", media.len());
    let written = tokio::task::spawn_blocking(move || write_pair(&dir.join(path), &media, json.as_bytes())).await;
    match written.map_err(io::Error::from).flatten() {
        Ok(()) => Ok(StatusCode::CREATED),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

fn write_pair(target: &Path, media: &[u8], json: &[u8]) -> io::Result<()> {
    let dir = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    make_durably(dir)?;
    write_durably(dir, &target.with_extension("json"), json)?;
    write_durably(dir, target, media)
}

/// Creates a directory and its parents.
fn make_durably(dir: &Path) -> io::Result<()> {
    let Some(parent) = dir.parent().filter(|_| !dir.exists()) else {
        return Ok(());
    };
    make_durably(parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

fn write_durably(dir: &Path, target: &Path, bytes: &[u8]) -> io::Result<()> {
    // No two uploads of a run have the same target.
    let temporary = target.with_extension("new");
    let mut file = File::create_new(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(temporary, target)?;
    File::open(dir)?.sync_all()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(port), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: peer_fsync_each PORT DIR".into());
    };
    let app = Router::new()
        .route("/{*path}", put(store))
        .layer(DefaultBodyLimit::max(1 << 30))
        .with_state(PathBuf::from(dir));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
