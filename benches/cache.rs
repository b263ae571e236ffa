//! Compares fetching small files that `FsStore` caches with only opening and reading them and their sidecars.
// A bench fails by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    hint::black_box,
    io::Read as _,
    path::{Path, PathBuf},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http_body_util::BodyExt as _;
use kazoo_storage::{BlobKey, BlobStore as _, FsStore, Upload};
use kazoo_storage_benches::ratio::ratio;
use tokio::runtime::Runtime;

/// Number of files, each of `LEN` bytes. All fit into the cache.
const FILES: usize = 200;
const LEN: usize = 4 << 10;

fn files(runtime: &Runtime, store: &FsStore) -> Vec<BlobKey> {
    let keys = (0..FILES).map(|number| BlobKey::from_path(&format!("ACCOUNT/DOCUMENT/{number}.mp3")).unwrap());
    let keys: Vec<BlobKey> = keys.collect();
    for key in &keys {
        let upload = Upload::new(key.clone(), "a".repeat(LEN));
        runtime.block_on(store.put(upload)).unwrap();
    }
    keys
}

fn fetch(runtime: &Runtime, store: &FsStore, key: &BlobKey) {
    let content = runtime.block_on(async {
        let blob = store.get(key, None).await.unwrap().into_blob().unwrap();
        blob.body.collect().await.unwrap().to_bytes()
    });
    assert_eq!(content.len(), LEN);
}

fn read(path: &Path) -> usize {
    let mut file = File::open(path).unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let mut content = Vec::with_capacity(len);
    file.read_to_end(&mut content).unwrap();
    black_box(content).len()
}

fn cache(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let root = tempfile::tempdir().unwrap();
    let store = FsStore::options().durable(false).open(root.path()).unwrap();
    let keys = files(&runtime, &store);
    let paths: Vec<[PathBuf; 2]> = (0..FILES)
        .map(|number| [format!("{number}.mp3"), format!(".{number}.mp3.json")])
        .map(|names| names.map(|name| root.path().join("ACCOUNT/DOCUMENT").join(name)))
        .collect();
    assert!(paths.iter().flatten().all(|path| fs::exists(path).unwrap()));

    let mut next = (0..FILES).cycle();
    let mut cached = || fetch(&runtime, &store, &keys[next.next().unwrap()]);
    // The first fetches read the files, and fill the cache.
    (0..2 * FILES).for_each(|_| cached());
    criterion.bench_function("cache/4 KiB", |bencher| bencher.iter(&mut cached));

    let mut next = (0..FILES).cycle();
    let uncached = || {
        let [media, sidecar] = &paths[next.next().unwrap()];
        assert!(read(media) == LEN && read(sidecar) > 0);
    };
    // Below 1.10, the cache is not worth its code.
    ratio("cache/4 KiB", "open and read both files", Some(1.10), cached, uncached);
}

criterion_group!(benches, cache);
criterion_main!(benches);
