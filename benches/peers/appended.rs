//! An upper bound for a durable store: uploads are appended to one file, with one `fdatasync` for those that arrive together.
//!
//! `peer_appended PORT DIR` overwrites DIR/records from its start when it is full. It has no index, so it serves no fetches.

use std::{
    error::Error,
    fs::File,
    io::{self, IoSlice, Seek as _, Write as _},
    path::Path,
    thread,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as Target, State},
    http::StatusCode,
    routing::put,
};
use tokio::sync::{mpsc, oneshot};

/// The length of the file, in bytes. It is written beforehand, so that a sync writes only the records.
const LEN: u64 = 256 << 20;

/// The maximum number of uploads in a group.
const GROUP: usize = 256;

struct Record {
    head: String,
    media: Bytes,
    stored: oneshot::Sender<bool>,
}

async fn store(State(log): State<mpsc::Sender<Record>>, Target(path): Target<String>, media: Bytes) -> StatusCode {
    let (stored, outcome) = oneshot::channel();
    let head = format!("{path} {}\n", media.len());
    let queued = log.send(Record { head, media, stored }).await.is_ok();
    if queued && outcome.await.unwrap_or(false) {
        StatusCode::CREATED
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    io::copy(&mut io::Read::take(io::repeat(0), LEN), &mut file)?;
    file.sync_all()?;
    file.rewind()?;
    Ok(file)
}

fn append_groups(mut file: File, mut records: mpsc::Receiver<Record>) {
    let mut group = Vec::with_capacity(GROUP);
    while records.blocking_recv_many(&mut group, GROUP) > 0 {
        let outcome = append(&mut file, &group);
        for record in group.drain(..) {
            // The client may have disconnected.
            let _ = record.stored.send(outcome.is_ok());
        }
    }
}

fn append(file: &mut File, group: &[Record]) -> io::Result<()> {
    let parts = || group.iter().flat_map(|record| [record.head.as_bytes(), &record.media]);
    let len: usize = parts().map(<[u8]>::len).sum();
    if file.stream_position()? + len as u64 > LEN {
        file.rewind()?;
    }
    let mut slices: Vec<IoSlice<'_>> = parts().map(IoSlice::new).collect();
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        let written = file.write_vectored(slices)?;
        IoSlice::advance_slices(&mut slices, written);
    }
    file.sync_data()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(port), Some(dir)) = (args.next(), args.next()) else {
        return Err("usage: peer_appended PORT DIR".into());
    };
    let file = create(&Path::new(&dir).join("records"))?;
    let (log, records) = mpsc::channel(GROUP);
    thread::spawn(move || append_groups(file, records));
    let app = Router::new()
        .route("/{*path}", put(store))
        .layer(DefaultBodyLimit::max(1 << 30))
        .with_state(log);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
