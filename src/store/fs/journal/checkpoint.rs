//! [`Checkpoints`]: the thread that frees full segments.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvError, Sender},
    },
    thread::{self, JoinHandle},
};

use super::{failure::Failure, record::PREFIX, segment::Segment};
use crate::store::fs::sync::{self, Target, measured};

/// The handle of the thread. It receives full segments and returns their files once they may be overwritten.
#[derive(Debug)]
pub(super) struct Checkpoints {
    full: Option<Sender<Segment>>,
    free: Receiver<Arc<File>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread. The file `spare` is free at the start.
    pub(super) fn start(root: &File, spare: File, failure: Failure) -> io::Result<Self> {
        let (full, segments) = mpsc::channel();
        let (freed, free) = mpsc::channel();
        // The receiver is alive.
        let _ = freed.send(Arc::new(spare));
        let root = root.try_clone()?;
        let thread = thread::Builder::new()
            .name("kazoo-storage checkpoints".to_owned())
            .spawn(move || run(&root, segments, &freed, &failure))?;
        Ok(Self {
            full: Some(full),
            free,
            thread: Some(thread),
        })
    }

    /// Waits for a free file.
    pub(super) fn free(&self) -> Result<Arc<File>, RecvError> {
        self.free.recv()
    }

    /// Hands over a full segment. Returns `false` if the thread has ended.
    pub(super) fn push(&self, segment: Segment) -> bool {
        self.full.as_ref().is_some_and(|full| full.send(segment).is_ok())
    }

    /// Waits until every full segment is free and the thread has ended. Returns the free files.
    pub(super) fn finish(&mut self) -> impl Iterator<Item = Arc<File>> {
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.free.try_iter()
    }
}

/// Frees each segment in turn. Ends after the last one, or when the disk fails.
fn run(root: &File, segments: Receiver<Segment>, freed: &Sender<Arc<File>>, failure: &Failure) {
    for Segment { live, applied, .. } in segments {
        let file = Arc::clone(&live.file);
        drop(live);
        // Nothing is ever sent. The channel closes when all changes of the segment are applied.
        let _ = applied.recv();
        let cleared = measured(Target::FileSystem, || sync::file_system(root))
            .map_err(io::Error::from)
            // If the record that overwrites the first one is lost, a recovery must not read the first one again.
            .and_then(|()| file.write_all_at(&[0; PREFIX], 0))
            .and_then(|()| file.sync_data());
        if cleared.is_err() {
            return failure.set();
        }
        let _ = freed.send(file);
    }
}
