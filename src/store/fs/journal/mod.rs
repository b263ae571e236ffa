//! The journal: what makes uploads durable, many of them with one sync.
//!
//! A file, its sidecar and the directories on the way to them are three or more things to fsync, each of which the disk
//! does for itself. So what an upload changes is written to one file first, behind what the uploads next to it change,
//! and one fdatasync makes all of that durable. Only then the upload is moved to its place, where the operating system
//! writes it out whenever it likes: after a crash, [`replay()`](replay::replay) does again what the journal tells.
//!
//! Measured with 32 connections that each upload 64 KiB, on ext4 with a journal and two cores that the client has to
//! share: 0.6 of the uploads per second that are possible without any sync, where an fsync of each file and each
//! directory leaves 0.3. Half of what is lost is the write to the journal, the other half that the disk keeps up.
//!
//! An upload that fails after its record was written withdraws the record: one byte of it is overwritten in place and
//! synced before the failure is reported. That needs neither space nor a turn at the end of the journal.
//!
//! There are two segments of the journal. While one is written, a *checkpoint* has all of the file system written out,
//! with what the other one tells, and so makes that one free to be written over.

mod record;
mod replay;

use std::{
    convert::Infallible,
    fs::File,
    io::{self, IoSlice, Seek as _, SeekFrom, Write as _},
    iter, mem,
    os::unix::fs::FileExt as _,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use self::record::{BATCH_MARK, PREFIX, Record};
pub(super) use self::{
    record::{Change, Content},
    replay::{Unfinished, replay},
};
use super::{
    error::failed,
    fault::{self, Point},
    stage::{SEGMENTS, Stage},
    sync::{Target, measured},
};
use crate::error::{Error, ErrorKind, Result};

/// How long a segment gets, but for the uploads that come together with the last one that fits.
///
/// Twice as much is what the disk needs for the journal, and what is read again after a crash. Measured as above, longer
/// ones are no faster, and every upload waits while much is written out at once: with 8 MiB one in a hundred takes three
/// times as long as the median, with 64 MiB five times.
const SEGMENT: u64 = 8 << 20;

/// The journal of an open store.
#[derive(Debug)]
pub(super) struct Journal {
    /// The uploads that are written next, together.
    next: Mutex<Arc<Batch>>,
    log: Mutex<Log>,
    /// Set once a sync has failed: nothing is known then about what the disk holds, and what the kernel could not write
    /// it may take for written.
    broken: Arc<AtomicBool>,
    /// Keeps the root locked until the journal is closed.
    _stage: Arc<Stage>,
}

/// A durable record of a change that is not applied yet. Its segment is kept while this value lives.
#[derive(Debug)]
pub(super) struct Unapplied {
    segment: Live,
    offset: u64,
    broken: Arc<AtomicBool>,
}

impl Unapplied {
    /// Withdraws the record durably, because the change failed with `error`, so that a recovery does not redo it.
    ///
    /// If that fails too, this is the error, and nothing is made durable until the store is opened again.
    pub(super) fn withdraw(self, error: Error) -> Error {
        let withdrawn = measured(Target::Journal, || {
            fault::at(Point::Withdraw)?;
            let mark = self.offset + record::MARK;
            let mut byte = [0];
            self.segment.file.read_exact_at(&mut byte, mark)?;
            self.segment.file.write_all_at(&byte.map(|byte| !byte), mark)?;
            self.segment.file.sync_data()
        });
        match withdrawn {
            Ok(()) => error,
            Err(other) => lost(&self.broken, failed("take a failed upload out of its journal", other)),
        }
    }
}

/// A segment that must not be overwritten while this value lives.
#[derive(Clone, Debug)]
struct Live {
    file: Arc<File>,
    _live: Sender<Infallible>,
}

/// The positions of the records of a batch.
#[derive(Debug)]
struct Written {
    segment: Live,
    offsets: Vec<u64>,
}

/// Uploads that become durable with one sync. The first of them writes them all.
#[derive(Debug, Default)]
struct Batch {
    state: Mutex<BatchState>,
    written: Condvar,
}

#[derive(Debug, Default)]
struct BatchState {
    records: Vec<Record>,
    outcome: Option<Result<Arc<Written>>>,
}

/// The segment that is written, and the way to the next one.
#[derive(Debug)]
struct Log {
    segment: Segment,
    epoch: u64,
    broken: Arc<AtomicBool>,
    full: Option<Sender<Segment>>,
    clean: Receiver<Arc<File>>,
    checkpoints: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Segment {
    len: u64,
    live: Live,
    /// Disconnected when the last upload is in its place.
    applied: Receiver<Infallible>,
}

impl Segment {
    fn new(file: Arc<File>) -> Self {
        let (sender, applied) = mpsc::channel();
        Self {
            len: 0,
            live: Live { file, _live: sender },
            applied,
        }
    }
}

impl Journal {
    /// An empty journal in the staging directory. Whatever is there already is discarded: replay it before.
    pub(super) fn create(root: &File, stage: &Arc<Stage>) -> Result<Self> {
        let unopened = |error: io::Error| failed("open its journal", error);
        let [current, spare] = SEGMENTS.map(|name| stage.create_segment(name));
        let (full, segments) = mpsc::channel();
        let (checkpointed, clean) = mpsc::channel();
        // There is a receiver.
        let _ = checkpointed.send(Arc::new(spare?));
        let root = root.try_clone().map_err(unopened)?;
        let broken = Arc::<AtomicBool>::default();
        let disk = Disk {
            root,
            broken: Arc::clone(&broken),
        };
        let checkpoints = thread::Builder::new()
            .name("kazoo-storage checkpoints".to_owned())
            .spawn(move || disk.checkpoint(segments, &checkpointed))
            .map_err(unopened)?;
        Ok(Self {
            next: Mutex::default(),
            log: Mutex::new(Log {
                segment: Segment::new(Arc::new(current?)),
                epoch: epoch_after(0),
                broken: Arc::clone(&broken),
                full: Some(full),
                clean,
                checkpoints: Some(checkpoints),
            }),
            broken,
            _stage: Arc::clone(stage),
        })
    }

    /// Makes `change` durable, together with those that come at the same time. Blocks.
    pub(super) fn append(&self, change: &Change<'_>) -> Result<Unapplied> {
        let record = Record::of(change)?;
        let (batch, index) = {
            let next = lock(&self.next);
            let mut state = lock(&next.state);
            state.records.push(record);
            (Arc::clone(&next), state.records.len() - 1)
        };
        let written = if index == 0 {
            self.write(&batch)
        } else {
            let mut state = lock(&batch.state);
            loop {
                if let Some(outcome) = &state.outcome {
                    break outcome.clone();
                }
                state = batch.written.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }?;
        Ok(Unapplied {
            segment: written.segment.clone(),
            offset: written.offsets.get(index).copied().ok_or_else(unknown)?,
            broken: Arc::clone(&self.broken),
        })
    }

    fn write(&self, batch: &Batch) -> Result<Arc<Written>> {
        // While the batch before is written, this one grows.
        let mut log = lock(&self.log);
        *lock(&self.next) = Arc::default();
        let mut records = mem::take(&mut lock(&batch.state).records);
        let outcome = log.write(&mut records).map(Arc::new);
        drop(log);
        lock(&batch.state).outcome = Some(outcome.clone());
        batch.written.notify_all();
        outcome
    }

    /// Syncs what is not in the journal. If that fails, nothing is made durable any more, as if the journal's own had.
    pub(super) fn sync_besides(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        measured(Target::Upload, sync).map_err(|error| lost(&self.broken, error))
    }

    /// Whether uploads can be made durable.
    pub(super) fn check(&self) -> Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(unknown());
        }
        Ok(())
    }
}

/// Leaves nothing to replay, if that is possible: what the operator removes from now on does not come back.
impl Drop for Journal {
    fn drop(&mut self) {
        let log = self.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        let clean = log.segment.len == 0 || log.rotate().is_ok();
        // Its receiver ends with it, behind the last checkpoint.
        log.full = None;
        if let Some(checkpoints) = log.checkpoints.take() {
            let _ = checkpoints.join();
        }
        if clean && !self.broken.load(Ordering::Relaxed) {
            let _ = log.segment.live.file.set_len(0);
            while let Ok(file) = log.clean.try_recv() {
                let _ = file.set_len(0);
            }
        }
    }
}

impl Log {
    fn write(&mut self, records: &mut [Record]) -> Result<Written> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(unknown());
        }
        let len: u64 = BATCH_MARK as u64 + records.iter().map(Record::len).sum::<u64>();
        if self.segment.len > 0 && self.segment.len + len > SEGMENT {
            self.rotate()?;
        }
        let mut offsets = Vec::with_capacity(records.len());
        let mark = record::batch_mark(self.epoch);
        let mut end = self.segment.len + BATCH_MARK as u64;
        for record in &mut *records {
            record.stamp(self.epoch);
            offsets.push(end);
            end += record.len();
        }
        let file = &*self.segment.live.file;
        let slices = records.iter().flat_map(Record::slices);
        let mut slices: Vec<IoSlice<'_>> = iter::once(&mark[..]).chain(slices).map(IoSlice::new).collect();
        if let Err(error) = write_all(file, &mut slices, self.segment.len) {
            // The next batch is written over what of this one was written.
            let _ = file.set_len(self.segment.len);
            return Err(failed("write its journal", error));
        }
        if let Err(error) = measured(Target::Journal, || file.sync_data()) {
            return Err(lost(&self.broken, failed("make an upload durable", error)));
        }
        self.segment.len = end;
        Ok(Written {
            segment: self.segment.live.clone(),
            offsets,
        })
    }

    /// Goes on in the other segment, once that is free.
    fn rotate(&mut self) -> Result<()> {
        let Ok(file) = self.clean.recv() else {
            return Err(unknown());
        };
        self.epoch = epoch_after(self.epoch);
        let full = mem::replace(&mut self.segment, Segment::new(file));
        match self.full.as_ref().map(|checkpoints| checkpoints.send(full)) {
            Some(Ok(())) => Ok(()),
            _ => Err(unknown()),
        }
    }
}

/// The file system that the root is on.
struct Disk {
    root: File,
    broken: Arc<AtomicBool>,
}

impl Disk {
    /// Makes each segment free in turn, until that is impossible.
    fn checkpoint(&self, segments: Receiver<Segment>, clean: &Sender<Arc<File>>) {
        for Segment { live, applied, .. } in segments {
            let file = Arc::clone(&live.file);
            drop(live);
            // Nothing is ever sent: this is over when all of its uploads are in their place.
            let _ = applied.recv();
            if measured(Target::FileSystem, || super::sync_all(&self.root)).is_err() {
                self.broken.store(true, Ordering::Relaxed);
                return;
            }
            // Its first record must not be read again if the next one, which is written over it, is lost.
            let cleared = file.write_all_at(&[0; PREFIX], 0).and_then(|()| file.sync_data());
            if cleared.is_err() {
                self.broken.store(true, Ordering::Relaxed);
                return;
            }
            let _ = clean.send(file);
        }
    }
}

/// Tells what is written to a segment now from what is left there; later ones are greater.
fn epoch_after(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(last + 1)
}

/// What is answered when a sync has failed, after which nothing is made durable any more.
fn lost(broken: &AtomicBool, error: Error) -> Error {
    broken.store(true, Ordering::Relaxed);
    let message = format!("{error}; after that the store has to be opened again");
    Error::new(error.kind(), message).with_source(error)
}

fn unknown() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "the storage's disk has failed to keep an upload; once it is sound, the store has to be opened again",
    )
}

fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
