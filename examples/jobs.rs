//! A job for each upload that survives a crash: a store that writes the job down before it acknowledges the upload.
//!
//! ```console
//! cargo run --example jobs              # port 8080, files in ./data, jobs in ./data-jobs
//! cargo run --example jobs 0 /tmp/data  # any free port, files elsewhere
//! cargo test --example jobs --features conformance
//! ```
//!
//! Then upload a file as KAZOO does, and stop the program before or after its line `transcribed …`:
//!
//! ```console
//! curl -i -T message.mp3 -H 'content-type: audio/mpeg' http://127.0.0.1:8080/some_prefix/ACC/202401-DOC/message.mp3
//! ```

use std::{
    convert::Infallible,
    env, fs,
    future::Future,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use axum::Router;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use kazoo_storage::{
    BlobInfo, BlobKey, BlobStore, ByteRange, Error, ErrorKind, FsStore, GetResult, KazooStorage, Metadata, PutResult,
    Result, Upload,
};
use tokio::{net::TcpListener, sync::Notify, task::spawn_blocking, time::timeout};

/// Time after which failed jobs are tried again. A new upload tries them again earlier.
const RETRY: Duration = Duration::from_secs(30);

/// A store that records a job for each upload, as a file in a directory. It acknowledges no upload without its job.
struct Outbox<S> {
    store: S,
    jobs: Jobs,
}

impl<S> Outbox<S> {
    fn new(store: S, jobs: Jobs) -> Self {
        Self { store, jobs }
    }
}

impl<S: BlobStore> BlobStore for Outbox<S> {
    async fn put(&self, upload: Upload) -> Result<PutResult> {
        let key = upload.key.clone();
        let stored = self.store.put(upload).await?;
        // Without the job the upload fails, with a 503. KAZOO then sends the file again.
        self.jobs.add(key).await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "cannot record the job of the upload").with_source(error)
        })?;
        Ok(stored)
    }

    async fn get(&self, key: &BlobKey, range: Option<ByteRange>) -> Result<GetResult> {
        self.store.get(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<BlobInfo> {
        self.store.head(key).await
    }

    async fn metadata(&self, key: &BlobKey) -> Result<Option<Metadata>> {
        self.store.metadata(key).await
    }

    async fn check(&self) -> Result<()> {
        self.store.check().await
    }
}

/// The jobs in a directory: one file for each, with the key of the stored file. Clones share the directory.
#[derive(Clone)]
struct Jobs {
    directory: Arc<Path>,
    added: Arc<Notify>,
}

impl Jobs {
    /// Opens `directory`, with the jobs that an earlier process left there. Its parent must exist.
    fn open(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        if let Err(error) = fs::create_dir(&directory)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        let directory = directory.canonicalize()?;
        if let Some(parent) = directory.parent() {
            sync(parent)?;
        }
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            // Its upload was not acknowledged.
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(path)?;
            }
        }
        Ok(Self {
            directory: directory.into(),
            added: Arc::default(),
        })
    }

    /// Adds a job, durably.
    async fn add(&self, key: BlobKey) -> io::Result<()> {
        let jobs = self.clone();
        spawn_blocking(move || jobs.write(&key)).await??;
        self.added.notify_one();
        Ok(())
    }

    fn write(&self, key: &BlobKey) -> io::Result<()> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        // A file that is stored twice has two jobs. The end of the first must not remove the second.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let path = self.directory.join(format!("{:020}-{count:010}.job", now.as_nanos()));
        let temporary = path.with_extension("tmp");
        let write = || {
            let mut file = fs::File::create_new(&temporary)?;
            file.write_all(key.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        // KAZOO sends the file again while the disk is full: each try must leave nothing.
        write().inspect_err(|_| drop(fs::remove_file(&temporary)))?;
        sync(&self.directory)
    }

    /// Returns the jobs that are not done, oldest first.
    async fn pending(&self) -> io::Result<Vec<(PathBuf, BlobKey)>> {
        let directory = Arc::clone(&self.directory);
        let read = move || {
            let mut jobs = Vec::new();
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "job") {
                    match BlobKey::from_path(&fs::read_to_string(&path)?) {
                        Ok(key) => jobs.push((path, key)),
                        Err(error) => eprintln!("skipped the unreadable job {}: {error}", path.display()),
                    }
                }
            }
            jobs.sort();
            Ok(jobs)
        };
        spawn_blocking(read).await?
    }

    /// Does each job at least once with `work`, one after the other, for as long as the future is polled.
    ///
    /// A failure ends nothing: the uploads continue, and the jobs that are left are tried again.
    async fn run<F: Future<Output = Result<()>>>(&self, work: impl Fn(BlobKey) -> F) -> Infallible {
        loop {
            let pending = self.pending().await.unwrap_or_else(|error| {
                eprintln!("cannot read the jobs: {error}");
                Vec::new()
            });
            for (path, key) in pending {
                // A crash before the file is removed repeats the job.
                match work(key.clone()).await.and_then(|()| Ok(fs::remove_file(path)?)) {
                    Ok(()) => {}
                    Err(error) => eprintln!("the job of {key} failed, and will be tried again: {error}"),
                }
            }
            // A job that was added in the meantime has left a permit.
            let _ = timeout(RETRY, self.added.notified()).await;
        }
    }
}

/// Makes the names in `directory` durable.
fn sync(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

/// The work: replace it with your own. It may run twice for one upload, so its result must be the same both times.
async fn transcribe(store: &impl BlobStore, key: BlobKey) -> Result<()> {
    let blob = match store.get(&key, None).await {
        Ok(GetResult::Blob(blob)) => blob,
        Ok(_) => return Err(Error::new(ErrorKind::Internal, "the store redirects")),
        // The file was deleted since, so nothing is left to do.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let (mut body, mut len) = (blob.body, 0);
    while let Some(frame) = body.frame().await {
        len += frame?.data_ref().map_or(0, Bytes::len);
    }
    println!("transcribed {len} bytes of {key}");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = env::args().skip(1);
    let port = args.next().map_or(Ok(8080), |port| port.parse())?;
    let root = PathBuf::from(args.next().unwrap_or_else(|| "data".to_owned()));

    // The store first: it refuses a second process, which must not touch the jobs of this one.
    let files = FsStore::open(&root)?;
    let mut directory = root.file_name().ok_or("the root has no name")?.to_owned();
    directory.push("-jobs");
    let jobs = Jobs::open(root.with_file_name(directory))?;
    let store = Arc::new(Outbox::new(files, jobs.clone()));
    let storage = KazooStorage::new(Arc::clone(&store)).into_service();
    let app = Router::new().nest_service("/some_prefix", storage);

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::select! {
        served = axum::serve(listener, app) => Ok(served?),
        never = jobs.run(|key| transcribe(&*store, key)) => match never {},
    }
}

#[cfg(all(test, feature = "conformance"))]
mod tests {
    // A test fails by panicking.
    #![allow(clippy::unwrap_used)]

    use kazoo_storage::{Body, MemoryStore};
    use tempfile::TempDir;

    use super::*;

    fn outbox(root: &TempDir) -> Outbox<FsStore> {
        let store = FsStore::open(root.path().join("files")).unwrap();
        Outbox::new(store, Jobs::open(root.path().join("jobs")).unwrap())
    }

    fn upload() -> Upload {
        Upload::new(
            BlobKey::from_path("/ACC/202401-DOC/my%20message.mp3").unwrap(),
            Body::from("ID3"),
        )
    }

    async fn pending(outbox: &Outbox<FsStore>) -> Vec<BlobKey> {
        let jobs = outbox.jobs.pending().await.unwrap();
        jobs.into_iter().map(|(_, key)| key).collect()
    }

    kazoo_storage::conformance_tests!(an_outbox, || async {
        let root = tempfile::tempdir().unwrap();
        (Outbox::new(MemoryStore::new(), Jobs::open(root.path()).unwrap()), root)
    });

    #[tokio::test]
    async fn a_job_survives_a_crash_until_its_work_is_done() {
        let root = tempfile::tempdir().unwrap();
        let before = outbox(&root);
        before.put(upload()).await.unwrap();
        drop(before);

        let after = outbox(&root);
        assert_eq!(pending(&after).await, [upload().key]);
        // The work fails once, as in a second crash.
        let failed = AtomicU64::new(0);
        let work = |key: BlobKey| {
            let first = failed.fetch_add(1, Ordering::Relaxed) == 0;
            let (store, added) = (&after.store, &after.jobs.added);
            async move {
                added.notify_one();
                if first {
                    return Err(Error::new(ErrorKind::Unavailable, "down"));
                }
                transcribe(store, key).await
            }
        };
        let _ = timeout(Duration::from_millis(500), after.jobs.run(work)).await;
        assert_eq!(failed.load(Ordering::Relaxed), 2);
        drop(after);
        assert_eq!(pending(&outbox(&root)).await, []);
    }

    #[tokio::test]
    async fn an_upload_without_its_job_is_not_acknowledged() {
        let root = tempfile::tempdir().unwrap();
        let outbox = outbox(&root);
        fs::remove_dir(&outbox.jobs.directory).unwrap();
        let error = outbox.put(upload()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // KAZOO sends it again.
        fs::create_dir(&outbox.jobs.directory).unwrap();
        assert_eq!(outbox.put(upload()).await.unwrap(), PutResult::Replaced);
        assert_eq!(pending(&outbox).await.len(), 1);
    }

    #[tokio::test]
    async fn an_unreadable_job_does_not_stop_the_others() {
        let root = tempfile::tempdir().unwrap();
        let outbox = outbox(&root);
        fs::write(outbox.jobs.directory.join("0.job"), "..").unwrap();
        outbox.put(upload()).await.unwrap();
        assert_eq!(pending(&outbox).await, [upload().key]);
    }

    #[tokio::test]
    async fn the_end_of_a_job_keeps_the_job_of_a_later_upload() {
        let root = tempfile::tempdir().unwrap();
        let outbox = outbox(&root);
        outbox.put(upload()).await.unwrap();
        let (first, _) = outbox.jobs.pending().await.unwrap().remove(0);
        outbox.put(upload()).await.unwrap();
        fs::remove_file(first).unwrap();
        assert_eq!(pending(&outbox).await, [upload().key]);
    }
}
