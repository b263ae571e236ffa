//! Compares the ledger with itself and with floors: lookups among many files with lookups among few, receiving events with
//! recording them, and a reindex with a walk of the same tree.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    hint::black_box,
    io,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use http::HeaderValue;
use kazoo_storage::{BlobKey, BlobStore as _, FsStore, Metadata, Upload};
use kazoo_storage_benches::ratio::{assert_goals, once, ratio};
use kazoo_storage_ledger::{FileRecord, Ledger, Reindex, Search};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Number of files with the same number: a caller and a callee who talk to each other.
const FILES_OF_A_NUMBER: usize = 4;

/// Number of tasks that record or receive events.
const TASKS: usize = 32;

/// A ledger in a directory of its own.
struct Site {
    ledger: Ledger,
    directory: TempDir,
}

impl Site {
    async fn new(durable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Ledger::options().durable(durable);
        let ledger = options.sqlite(directory.path().join("files.sqlite")).await.unwrap();
        Self { ledger, directory }
    }

    /// Records `count` files, each of a call of its own.
    async fn with_files(count: usize) -> Self {
        let site = Self::new(false).await;
        for first in (0..count).step_by(1000) {
            let files: Vec<FileRecord> = (first..count.min(first + 1000)).map(file).collect();
            let recorded = join_all(files.iter().map(|file| site.ledger.record(file))).await;
            assert!(recorded.into_iter().all(|event| event.unwrap().is_some()));
        }
        site
    }
}

fn key(number: usize) -> BlobKey {
    let path = format!("{:032x}/202611-{number:032x}/message.mp3", number % 64);
    BlobKey::from_path(&path).unwrap()
}

/// Returns a document of 700 bytes, as KAZOO sends for a recording.
fn metadata(number: usize) -> Metadata {
    let caller = number / FILES_OF_A_NUMBER;
    let json = format!(
        r#"{{"call_id":"call-{number}@10.0.0.5","caller_id_number":"+49{caller:010}","callee_id_number":"+43{caller:010}","padding":"{}"}}"#,
        "x".repeat(580)
    );
    Metadata::from_json(json).unwrap()
}

fn file(number: usize) -> FileRecord {
    FileRecord::new(&key(number), 64 << 10, metadata(number))
}

/// Looks for calls and numbers among 1 000 files and among many. The page cache of the system has both databases.
fn lookups(_: &mut Criterion) {
    let runtime = &Runtime::new().unwrap();
    let many = if once() { 2000 } else { 1_000_000 };
    let [mut few, mut many] = [1000, many].map(|count| Lookups::new(runtime, count));
    let (few_files, many_files) = (few.count, many.count);
    for (name, by_number) in [("call id", false), ("number", true)] {
        // Fills the caches of both sides alike.
        for _ in 0..if once() { 1 } else { WARM_UP } {
            few.run(by_number);
            many.run(by_number);
        }
        ratio(
            &format!("ledger/lookup by {name}, {many_files} files"),
            &format!("{few_files} files"),
            Some(0.5),
            || many.run(by_number),
            || few.run(by_number),
        );
    }
}

/// Number of lookups that a run makes, each after the one before.
const LOOKUPS: usize = 64;

/// Number of runs before the measurement: 16 000 lookups.
const WARM_UP: usize = 250;

/// A ledger of `count` files, and the next that is looked up.
struct Lookups<'a> {
    runtime: &'a Runtime,
    site: Site,
    count: usize,
    random: u64,
}

impl<'a> Lookups<'a> {
    fn new(runtime: &'a Runtime, count: usize) -> Self {
        let site = runtime.block_on(Site::with_files(count));
        // The kernel still writes what was recorded, which would slow down the measurement.
        for file in fs::read_dir(site.directory.path()).unwrap() {
            let mut file = File::open(file.unwrap().path()).unwrap();
            file.sync_all().unwrap();
            io::copy(&mut file, &mut io::sink()).unwrap();
        }
        Self {
            runtime,
            site,
            count,
            random: 1,
        }
    }

    /// Looks up random files.
    fn run(&mut self, by_number: bool) {
        for _ in 0..LOOKUPS {
            let number = self.next();
            let caller = number / FILES_OF_A_NUMBER;
            let (search, expected) = if by_number {
                (Search::new().number(format!("+49{caller:010}")), FILES_OF_A_NUMBER)
            } else {
                (Search::new().call_id(format!("call-{number}@10.0.0.5")), 1)
            };
            let found = self.runtime.block_on(self.site.ledger.search(search, 100)).unwrap();
            assert_eq!(found.len(), expected);
        }
    }

    /// Returns the number of a random file, by the generator of Knuth's MMIX.
    fn next(&mut self) -> usize {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.random >> 33).unwrap() % self.count
    }
}

/// Receives and acknowledges events next to recording them, each change synced to the disk.
fn events(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let site = runtime.block_on(Site::new(true));
    let consumer = runtime.block_on(site.ledger.consumer("bench")).unwrap();
    let next = AtomicUsize::new(0);
    let tasks = if once() { 2 } else { TASKS };
    let record = || {
        let record = async || {
            let file = file(next.fetch_add(1, Relaxed));
            site.ledger.record(&file).await.unwrap().unwrap();
        };
        runtime.block_on(join_all((0..tasks).map(|_| record())));
    };
    let receive = || {
        let receive = async || {
            let job = consumer.try_next().await.unwrap().expect("events are left");
            assert!(job.ack().await.unwrap());
        };
        runtime.block_on(join_all((0..tasks).map(|_| receive())));
    };
    // Each side runs a few times more than the other, so events must be left.
    let backlog = if once() { 2 } else { 4000 };
    (0..backlog).for_each(|_| record());
    ratio("ledger/events received", "recorded", None, receive, record);
}

/// Rebuilds a ledger next to a walk that only opens and reads each sidecar.
fn reindex(_: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let count = if once() { 300 } else { 20_000 };
    for number in 0..count {
        let upload = Upload::new(key(number), "ID3")
            .with_metadata(metadata(number))
            .with_content_type(HeaderValue::from_static("audio/mpeg"));
        runtime.block_on(store.put(upload)).unwrap();
    }
    let rebuild = || {
        runtime.block_on(async {
            let site = Site::new(true).await;
            let done = site.ledger.reindex(&store, Reindex::new(), |_| ()).await.unwrap();
            assert_eq!(done.recorded, count as u64);
        });
    };
    let read = || assert_eq!(sidecars(root.path()), count);
    ratio("ledger/reindex", "reading each sidecar", Some(0.5), rebuild, read);
}

/// Reads the sidecars beneath `directory`. Returns their number.
fn sidecars(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let counts = entries.map(|entry| {
        let name = entry.file_name();
        let name = name.to_str().unwrap();
        if entry.file_type().unwrap().is_dir() {
            return sidecars(&entry.path());
        }
        let is_sidecar = name
            .strip_prefix('.')
            .is_some_and(|rest| rest.rsplit('.').next() == Some("json"));
        usize::from(is_sidecar && !black_box(fs::read(entry.path()).unwrap()).is_empty())
    });
    counts.sum()
}

fn goals(_: &mut Criterion) {
    assert_goals();
}

criterion_group!(benches, lookups, events, reindex, goals);
criterion_main!(benches);
