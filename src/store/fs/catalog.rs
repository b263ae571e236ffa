//! Listing and deletion.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime, UNIX_EPOCH},
    vec,
};

use futures_core::Stream;
use rustix::fs::Stat;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    FsStore, Inner,
    delete::delete,
    name,
    walk::{Visited, walk},
};
use crate::{
    error::{Error, Result},
    key::BlobKey,
    store::{BlobCatalog, BlobEntry},
};

/// The number of entries that are sent together, because a message wakes the consumer.
const CHUNK: usize = 64;

/// The maximum number of chunks that are read ahead of the consumer.
const AHEAD: usize = 16;

impl BlobCatalog for FsStore {
    /// Occupies one of Tokio's blocking threads until the stream ends or is dropped.
    fn list(&self, prefix: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        let (entries, received) = channel(AHEAD);
        let (store, prefix) = (Arc::clone(&self.0), prefix.cloned());
        tokio::task::spawn_blocking(move || {
            if let Err(Stop::Failed(error)) = list(&store, prefix.as_ref(), &entries) {
                let _ = entries.blocking_send(Err(error));
            }
        });
        Listing {
            received,
            entries: Vec::new().into_iter(),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        delete(&self.0, key).await
    }
}

struct Listing {
    received: Receiver<Result<Vec<BlobEntry>>>,
    /// The rest of the chunk that was received last.
    entries: vec::IntoIter<BlobEntry>,
}

impl Stream for Listing {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Poll::Ready(Some(Ok(entry)));
            }
            match ready!(self.received.poll_recv(cx)) {
                Some(Ok(entries)) => self.entries = entries.into_iter(),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The reason why a listing ends early.
enum Stop {
    /// The stream was dropped.
    Dropped,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sends an entry for each file beneath `prefix`, also for those in front of an error. Blocks.
fn list(store: &Inner, prefix: Option<&BlobKey>, entries: &Sender<Result<Vec<BlobEntry>>>) -> Result<(), Stop> {
    let send = |chunk| entries.blocking_send(Ok(chunk)).map_err(|_| Stop::Dropped);
    let mut chunk = Vec::with_capacity(CHUNK);
    let walked = walk(&store.tree, prefix, &mut |names, visited| match visited {
        Visited::Media { stat } => {
            let Some(key) = name::key(names) else { return Ok(()) };
            let len = u64::try_from(stat.st_size).unwrap_or_default();
            chunk.push(BlobEntry::new(key, len).with_modified(modified(stat)));
            if chunk.len() < CHUNK {
                return Ok(());
            }
            send(mem::replace(&mut chunk, Vec::with_capacity(CHUNK)))
        }
        // Sooner than at the end of a chunk.
        Visited::Sidecar { .. } if entries.is_closed() => Err(Stop::Dropped),
        Visited::Sidecar { .. } => Ok(()),
        Visited::Unreadable(error) => Err(error.into()),
    });
    if !chunk.is_empty() {
        send(chunk)?;
    }
    walked.map(drop)
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the types differ by system"
)]
fn modified(stat: &Stat) -> Option<SystemTime> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let nanos = u32::try_from(stat.st_mtime_nsec).ok()?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}
