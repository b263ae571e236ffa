//! An upper bound for a durable store: uploads are appended to one file, with one `fdatasync` for those that arrive together.
//!
//! `peer_append_log PORT DIR` overwrites DIR/records from its start when it is full. It has no index, so it serves no fetches.

use std::{
    error::Error,
    fs::File,
    io::{self, Seek},
    path::Path,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as Target, State},
    http::StatusCode,
    routing::put,
};

use records::{LEN, Records};

mod records;

async fn store(State(records): State<Records>, Target(path): Target<String>, media: Bytes) -> StatusCode {
    let head = format!("{path} {}\n", media.len());
    match records.append(head.into(), media).await {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Writes the file beforehand, so that a sync writes only the records.
fn create(path: &Path) -> io::Result<Records> {
    let mut file = File::create_new(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), LEN), &mut file)?;
    file.sync_all()?;
    file.rewind()?;
    Ok(Records::start(file, Seek::rewind))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(port), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: peer_append_log PORT DIR".into());
    };
    let records = create(&Path::new(&dir).join("records"))?;
    let app = Router::new()
        .route("/{*path}", put(store))
        .layer(DefaultBodyLimit::max(1 << 30))
        .with_state(records);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
