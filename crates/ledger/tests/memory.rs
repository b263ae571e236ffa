//! Memory of a reindex, measured by counting every allocation outside SQLite.

// A test fails by panicking.
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{future::pending, iter::repeat_n, time::SystemTime};

use futures_core::Stream;
use futures_util::stream;
use kazoo_storage::{
    BlobCatalog, BlobInfo, BlobKey, BlobStore, ByteRange, GetResult, Metadata, PutResult, Result, Upload,
    store::BlobEntry,
};
use kazoo_storage_ledger::{Ledger, Reindex};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Number of files. They are one batch, whose metadata is twice as long as the bound.
const FILES: usize = 48;

const MIB: usize = 1 << 20;

/// Maximum memory, in bytes: 16 files are read at once, 2 MiB wait for the ledger, and it writes as many.
const BOUND: usize = 24 * MIB;

/// A store whose files have metadata of 1 MiB, which it holds only while somebody reads it.
struct LongMetadata;

impl BlobStore for LongMetadata {
    async fn put(&self, _: Upload) -> Result<PutResult> {
        pending().await
    }

    async fn get(&self, _: &BlobKey, _: Option<ByteRange>) -> Result<GetResult> {
        pending().await
    }

    async fn head(&self, _: &BlobKey) -> Result<BlobInfo> {
        Ok(BlobInfo::new(3).with_modified(SystemTime::now()))
    }

    async fn metadata(&self, _: &BlobKey) -> Result<Option<Metadata>> {
        let mut json = String::with_capacity(MIB);
        json.push_str(r#"{"a":""#);
        json.extend(repeat_n('x', MIB - json.len() - 2));
        json.push_str(r#""}"#);
        let metadata = Metadata::from_json(json)?;
        // The others are read meanwhile, as in an object store.
        tokio::task::yield_now().await;
        Ok(Some(metadata))
    }
}

impl BlobCatalog for LongMetadata {
    fn list(&self, _: Option<&BlobKey>) -> impl Stream<Item = Result<BlobEntry>> + Send + 'static {
        stream::iter((0..FILES).map(|number| Ok(BlobEntry::new(BlobKey::from_path(&format!("A/D/{number}"))?, 3))))
    }

    async fn delete(&self, _: &BlobKey) -> Result<()> {
        pending().await
    }
}

#[tokio::test]
async fn a_reindex_holds_few_of_the_longest_documents() {
    let directory = tempfile::tempdir().unwrap();
    let options = Ledger::options().durable(false);
    let ledger = options.sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let done = ledger.reindex(&LongMetadata, Reindex::new(), |_| ()).await.unwrap();
    let held = ALLOCATOR.peak_usage() - before;
    assert_eq!(done.recorded, FILES as u64);
    assert!(held < BOUND, "{} MiB", held / MIB);
}
