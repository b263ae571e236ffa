//! Records that are appended to a file, with one `fdatasync` for those that arrive together.

use std::{
    fs::File,
    io::{self, IoSlice, Seek as _, Write as _},
    thread,
};

use axum::body::Bytes;
use tokio::sync::{mpsc, oneshot};

/// The length of a file, in bytes.
pub(crate) const LEN: u64 = 256 << 20;

/// The maximum number of records in a group.
const GROUP: usize = 256;

struct Record {
    head: Bytes,
    media: Bytes,
    /// Receives the position of the head in all files together.
    stored: oneshot::Sender<Option<u64>>,
}

/// Appends to a file from a thread of its own.
#[derive(Clone)]
pub(crate) struct Records(mpsc::Sender<Record>);

impl Records {
    /// Appends to `file`, and to what `next` makes of it when it is full.
    pub(crate) fn start(file: File, next: impl FnMut(&mut File) -> io::Result<()> + Send + 'static) -> Self {
        let (records, queued) = mpsc::channel(GROUP);
        thread::spawn(move || append_groups(file, next, queued));
        Self(records)
    }

    /// Appends a record, and returns its position in all files together once it is durable; `None` if it could not be written.
    pub(crate) async fn append(&self, head: Bytes, media: Bytes) -> Option<u64> {
        let (stored, outcome) = oneshot::channel();
        self.0.send(Record { head, media, stored }).await.ok()?;
        outcome.await.ok()?
    }
}

fn append_groups(
    mut file: File,
    mut next: impl FnMut(&mut File) -> io::Result<()>,
    mut queued: mpsc::Receiver<Record>,
) {
    let (mut group, mut files) = (Vec::with_capacity(GROUP), 0);
    while queued.blocking_recv_many(&mut group, GROUP) > 0 {
        let len: usize = group.iter().map(|record| record.head.len() + record.media.len()).sum();
        let is_full = file.stream_position().is_ok_and(|position| position + len as u64 > LEN);
        let ready = if is_full { next(&mut file) } else { Ok(()) };
        files += u64::from(is_full);
        let start = ready.and_then(|()| append(&mut file, &group)).ok();
        let mut before = 0;
        for record in group.drain(..) {
            // The client may have disconnected.
            let _ = record.stored.send(start.map(|start| files * LEN + start + before));
            before += (record.head.len() + record.media.len()) as u64;
        }
    }
}

/// Writes a group, and returns its position.
fn append(file: &mut File, group: &[Record]) -> io::Result<u64> {
    let start = file.stream_position()?;
    let parts = group.iter().flat_map(|record| [&*record.head, &*record.media]);
    let mut slices: Vec<IoSlice<'_>> = parts.map(IoSlice::new).collect();
    let mut slices = &mut slices[..];
    while !slices.is_empty() {
        let written = file.write_vectored(slices)?;
        IoSlice::advance_slices(&mut slices, written);
    }
    file.sync_data()?;
    Ok(start)
}
