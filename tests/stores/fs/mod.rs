//! Guarantees of `FsStore` beyond the contract.

mod interrupted;
mod layout;
pub(crate) mod media;
mod obstacles;
mod root;

use std::{fs, path::Path};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use kazoo_storage::{Blob, BlobKey, BlobStore, Metadata, Upload, store::FsStore};
use tempfile::TempDir;

fn open(root: &Path) -> FsStore {
    FsStore::options().durable(false).open(root).unwrap()
}

fn fresh() -> (FsStore, TempDir) {
    let root = tempfile::tempdir().unwrap();
    (open(root.path()), root)
}

fn key(path: &str) -> BlobKey {
    BlobKey::from_path(path).unwrap()
}

fn upload(path: &str, content: &'static str) -> Upload {
    Upload::new(key(path), content)
}

fn metadata(json: &'static str) -> Metadata {
    Metadata::from_json(json).unwrap()
}

async fn blob(store: &FsStore, path: &str) -> Blob {
    store.get(&key(path), None).await.unwrap().into_blob().unwrap()
}

async fn read(store: &FsStore, path: &str) -> Bytes {
    blob(store, path).await.body.collect().await.unwrap().to_bytes()
}

/// Returns every file and directory below `root` except the staging directory, sorted. Directories end with a slash.
fn tree(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if name == ".stage" {
                continue;
            }
            if entry.file_type().unwrap().is_dir() {
                found.push(format!("{name}/"));
                walk(root, &entry.path(), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

fn staged(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join(".stage")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name != "lock" && !name.starts_with("journal."))
        .collect()
}
