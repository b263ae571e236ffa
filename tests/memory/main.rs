//! Memory per request, measured by counting every allocation: at most [`BOUND`], whatever the peer sends and however
//! fast.
//!
//! A debug build transfers less data than a release build. The bound does not depend on it.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod body;
mod client;
mod layers;
mod media;
mod metadata;
mod sink;
mod stack;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, Body, ByteRange, Error, ErrorKind, GetResult, Metadata, PutResult, Upload,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Maximum memory for one request without its metadata, in bytes: the current chunk, its result, and the service
/// itself.
const BOUND: usize = 256 << 10;

/// Size of a chunk from the peer, in bytes: hyper's buffer.
const CHUNK: usize = 64 << 10;

const MIB: u64 = 1 << 20;

/// As long as the test may take.
const LONG: u64 = if cfg!(debug_assertions) { 24 * MIB } else { 1024 * MIB };

/// A length that no layer may read to the end.
const ENDLESS: u64 = 256 * MIB;

/// Counts bytes and discards them.
#[derive(Clone, Debug, Default)]
struct Discard {
    bytes: Arc<AtomicU64>,
    uploads: Arc<AtomicUsize>,
    /// Maximum number of concurrent uploads.
    most: Arc<AtomicUsize>,
}

impl Discard {
    async fn drain(&self, mut body: Body) -> Result<(), Error> {
        while let Some(frame) = body.frame().await {
            let data = frame?.into_data().unwrap_or_default();
            self.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl BlobStore for Discard {
    async fn put(&self, upload: Upload) -> Result<PutResult, Error> {
        let now = self.uploads.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        let drained = self.drain(upload.body).await;
        self.uploads.fetch_sub(1, Ordering::Relaxed);
        drained.map(|()| PutResult::Created)
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }

    async fn head(&self, _: &BlobKey) -> Result<BlobInfo, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>, Error> {
        Err(Error::new(ErrorKind::NotFound, "nothing is kept"))
    }
}

/// One measurement at a time, because the allocator counts for the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// Returns the result of `work`, and its peak memory above that at its start.
async fn measured<F: Future>(work: F) -> (F::Output, usize) {
    let work = pin!(work);
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let output = work.await;
    (output, ALLOCATOR.peak_usage().saturating_sub(before))
}

#[track_caller]
fn assert_held(what: &str, held: usize, bound: usize) {
    println!("{what}: {} KiB held", held >> 10);
    assert!(held <= bound, "{what}: {held} bytes were held, and {bound} may be");
}
