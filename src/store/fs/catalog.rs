//! Listing and deletion.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures_core::Stream;
use rustix::fs::Stat;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    FsStore, Inner, blocking,
    delete::delete,
    name,
    walk::{Visited, walk},
};
use crate::{
    error::{Error, Result},
    key::BlobKey,
    store::{BlobCatalog, BlobEntry},
};

/// The maximum number of entries that are read ahead of the consumer.
const AHEAD: usize = 256;

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
        Listing(received)
    }

    async fn delete(&self, key: &BlobKey) -> Result<()> {
        let (store, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || {
            store.ready()?;
            delete(&store, &key)
        })
        .await
    }
}

struct Listing(Receiver<Result<BlobEntry>>);

impl Stream for Listing {
    type Item = Result<BlobEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
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

/// Sends an entry for each file beneath `prefix`. Blocks.
fn list(store: &Inner, prefix: Option<&BlobKey>, entries: &Sender<Result<BlobEntry>>) -> Result<(), Stop> {
    walk(&store.tree, prefix, &mut |names, visited| match visited {
        Visited::Media { stat } => {
            let Some(key) = name::key(names) else { return Ok(()) };
            let mut entry = BlobEntry::new(key, u64::try_from(stat.st_size).unwrap_or_default());
            entry.modified = modified(stat);
            entries.blocking_send(Ok(entry)).map_err(|_| Stop::Dropped)
        }
        Visited::Sidecar { .. } => Ok(()),
        Visited::Unreadable(error) => Err(error.into()),
    })
    .map(drop)
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
