//! A sketch of a store for very many small files: uploads are appended to a volume, with a header that describes each, and
//! concurrent uploads share one `fdatasync`.
//!
//! `peer_volumes files|volumes PORT DIR [ledger]` serves `FsStore` or the sketch below DIR through the same layers, with or
//! without a ledger in SQLite. The sketch keeps its index in memory. A store for use would keep it in the ledger.

use std::{
    collections::HashMap,
    error::Error,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use axum::Router;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, ByteRange, ErrorKind, FsStore, GetResult, KazooStorage, Metadata, PutResult, Result,
    Upload, digest::Digest, store::Blob,
};
use kazoo_storage_ledger::{Ledger, Recorded};
use records::{LEN, Records};
use rustix::fs::FallocateFlags;

mod records;

struct Volumes {
    records: Records,
    dir: PathBuf,
    index: Mutex<HashMap<BlobKey, Entry>>,
}

/// The position of a content in all volumes together, its length and its digest.
#[derive(Clone, Copy)]
struct Entry {
    position: u64,
    len: usize,
    digest: Option<Digest>,
}

impl Volumes {
    fn create(dir: &Path) -> io::Result<Self> {
        let volumes = dir.to_owned();
        let mut number = 0;
        let first = create(&volumes, number)?;
        let next = move |file: &mut File| {
            number += 1;
            *file = create(&volumes, number)?;
            Ok(())
        };
        Ok(Self {
            records: Records::start(first, next),
            dir: dir.to_owned(),
            index: Mutex::default(),
        })
    }

    fn entry(&self, key: &BlobKey) -> Result<Entry> {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = index.get(key).copied();
        entry.ok_or_else(|| kazoo_storage::Error::new(ErrorKind::NotFound, "no file is stored under this name"))
    }
}

/// Creates a volume, and reserves its space.
fn create(dir: &Path, number: u64) -> io::Result<File> {
    let file = File::create_new(volume(dir, number))?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, LEN)?;
    file.sync_all()?;
    Ok(file)
}

fn volume(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("volume.{number}"))
}

fn unavailable(error: impl Into<Box<dyn Error + Send + Sync>>) -> kazoo_storage::Error {
    kazoo_storage::Error::new(ErrorKind::Unavailable, "the volume failed").with_source(error)
}

impl BlobStore for Volumes {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let mut media = Vec::with_capacity(upload.len.and_then(|len| usize::try_from(len).ok()).unwrap_or(64 << 10));
        let mut body = upload.body.with_digest();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                media.extend_from_slice(&data);
            }
        }
        let (len, digest) = (media.len(), body.digest());
        let head = format!(
            "{{\"key\":\"{}\",\"len\":{len},\"digest\":\"{}\",\"content_type\":{:?},\"metadata\":{}}}\n",
            upload.key,
            digest.map_or_else(String::new, |digest| digest.to_string()),
            upload.content_type,
            upload
                .metadata
                .as_ref()
                .map_or("null", |json| str::from_utf8(json.as_json()).unwrap_or_default()),
        );
        let at = head.len() as u64;
        let start = self.records.append(head.into(), media.into()).await;
        let position = start.ok_or_else(|| unavailable("it could not be written"))? + at;
        let entry = Entry { position, len, digest };
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match index.insert(upload.key.detached(), entry) {
            Some(_) => PutResult::Replaced,
            None => PutResult::Created,
        })
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        let Entry { position, len, digest } = self.entry(key)?;
        let range = range.map_or(Ok(0..len as u64), |range| range.of(len as u64))?;
        let mut media = vec![0; usize::try_from(range.end - range.start).unwrap_or_default()];
        let volume = volume(&self.dir, position / LEN);
        let start = position % LEN + range.start;
        let read = tokio::task::spawn_blocking(move || {
            File::open(volume)?.read_exact_at(&mut media, start)?;
            io::Result::Ok(media)
        });
        let media = read.await.map_err(unavailable)?.map_err(unavailable)?;
        let info = BlobInfo::new(len as u64).with_digest(digest);
        Ok(GetResult::Blob(Blob::partial(info, range, media)))
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        // The benchmark fetches none.
        self.entry(key).map(|_| None)
    }
}

fn app(store: impl BlobStore, ledger: Option<Ledger>) -> Router {
    match ledger {
        Some(ledger) => Router::new().fallback_service(KazooStorage::new(Recorded::new(store, ledger)).into_service()),
        None => Router::new().fallback_service(KazooStorage::new(store).into_service()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (store, port, dir, recorded) = match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [store @ ("files" | "volumes"), port, dir] => (*store, *port, Path::new(*dir), false),
        [store @ ("files" | "volumes"), port, dir, "ledger"] => (*store, *port, Path::new(*dir), true),
        _ => return Err("usage: peer_volumes files|volumes PORT DIR [ledger]".into()),
    };
    let ledger = match recorded.then(|| dir.join("ledger.sqlite")) {
        Some(path) => Some(Ledger::open(&format!("sqlite:{}", path.display())).await?),
        None => None,
    };
    let app = match store {
        "files" => app(FsStore::open(dir.join("files"))?, ledger),
        _ => app(Volumes::create(dir)?, ledger),
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
