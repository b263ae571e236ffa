//! [`Journal`]: appends changes in batches.

use std::{
    fs::File,
    io::{self, IoSlice},
    iter, mem,
    os::unix::fs::FileExt as _,
    slice,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    checkpoint::Checkpoints,
    failure::{self, Failure},
    record::{self, BATCH_MARK, Change, Record},
    segment::{self, Live, MAX_LEN, SEGMENTS, Segment},
};
use crate::{
    error::{Error, Result},
    store::fs::{
        error::failed,
        fault::{self, Point},
        sync::{Target, measured},
    },
};

/// The journal of an open store.
#[derive(Debug)]
pub(in crate::store::fs) struct Journal {
    /// The batch that collects the next changes.
    next: Mutex<Arc<Batch>>,
    log: Mutex<Log>,
    failure: Failure,
}

/// A durable record of a change that is not applied yet. Its segment is not overwritten while this value lives.
#[derive(Debug)]
pub(in crate::store::fs) struct Unapplied {
    segment: Live,
    offset: u64,
    failure: Failure,
}

/// Changes that become durable with one sync. The thread of the first change writes them all.
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

/// The positions of the records of a batch.
#[derive(Debug)]
struct Written {
    segment: Live,
    offsets: Vec<u64>,
}

/// The segment that is being written.
#[derive(Debug)]
struct Log {
    segment: Segment,
    /// Distinguishes the records of the segment from older ones that they overwrite. It increases with every segment.
    epoch: u64,
    checkpoints: Checkpoints,
    failure: Failure,
}

impl Journal {
    /// Creates an empty journal in `dir`, on the file system of `root`. Discards an existing one, which must be read first.
    pub(in crate::store::fs) fn create(root: &File, dir: &File) -> Result<Self> {
        let [current, spare] = SEGMENTS.map(|name| segment::create(dir, name));
        let failure = Failure::default();
        let checkpoints = Checkpoints::start(root, spare?, failure.clone());
        Ok(Self {
            next: Mutex::default(),
            log: Mutex::new(Log {
                segment: Segment::new(Arc::new(current?)),
                epoch: epoch_after(0),
                checkpoints: checkpoints.map_err(|error: io::Error| failed("open its journal", error))?,
                failure: failure.clone(),
            }),
            failure,
        })
    }

    /// Makes `change` durable, together with those that arrive at the same time. Blocks.
    pub(in crate::store::fs) fn append(&self, change: &Change<'_>) -> Result<Unapplied> {
        let unapplied = self.append_all(slice::from_ref(change))?.pop();
        unapplied.ok_or_else(failure::unavailable)
    }

    /// Makes `changes` durable, as [`append`](Self::append) does. Blocks.
    pub(in crate::store::fs) fn append_all(&self, changes: &[Change<'_>]) -> Result<Vec<Unapplied>> {
        let records: Vec<_> = changes.iter().map(Record::of).collect::<Result<_>>()?;
        let len = records.len();
        if len == 0 {
            return Ok(Vec::new());
        }
        let (batch, first) = {
            let next = lock(&self.next);
            let mut state = lock(&next.state);
            let first = state.records.len();
            state.records.extend(records);
            (Arc::clone(&next), first)
        };
        let written = if first == 0 {
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
        let offsets = written.offsets.iter().skip(first).take(len);
        let unapplied = offsets.map(|offset| Unapplied {
            segment: written.segment.clone(),
            offset: *offset,
            failure: self.failure.clone(),
        });
        Ok(unapplied.collect())
    }

    fn write(&self, batch: &Batch) -> Result<Arc<Written>> {
        // This batch grows while the previous one is being written.
        let mut log = lock(&self.log);
        *lock(&self.next) = Arc::default();
        let mut records = mem::take(&mut lock(&batch.state).records);
        let outcome = log.write(&mut records).map(Arc::new);
        drop(log);
        lock(&batch.state).outcome = Some(outcome.clone());
        batch.written.notify_all();
        outcome
    }

    /// Syncs files outside the journal. A failure has the same consequence as a failed sync of the journal.
    pub(in crate::store::fs) fn sync_outside(&self, sync: impl FnOnce() -> Result<()>) -> Result<()> {
        measured(Target::Upload, sync).map_err(|error| self.failure.caused_by(error))
    }

    /// Returns an error if changes cannot be made durable.
    pub(in crate::store::fs) fn check(&self) -> Result<()> {
        self.failure.check()
    }
}

/// Empties the journal, if possible: files that the operator removes from now on do not reappear after a crash.
impl Drop for Journal {
    fn drop(&mut self) {
        let log = self.log.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_applied = log.segment.len == 0 || log.rotate().is_ok();
        let free: Vec<_> = log.checkpoints.finish().collect();
        if is_applied && !self.failure.is_set() {
            for file in iter::once(&log.segment.live.file).chain(&free) {
                let _ = file.set_len(0);
            }
        }
    }
}

impl Unapplied {
    /// Withdraws the record durably, because applying the change failed with `error`. A recovery then skips it.
    ///
    /// If that fails too, returns that error, and nothing is made durable until the store is opened again.
    pub(in crate::store::fs) fn withdraw(self, error: Error) -> Error {
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
            Err(other) => self
                .failure
                .caused_by(failed("withdraw a failed upload from its journal", other)),
        }
    }
}

impl Log {
    fn write(&mut self, records: &mut [Record]) -> Result<Written> {
        self.failure.check()?;
        let len: u64 = BATCH_MARK as u64 + records.iter().map(Record::len).sum::<u64>();
        if self.segment.len > 0 && self.segment.len + len > MAX_LEN {
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
        if let Err(error) = segment::write_all(file, &mut slices, self.segment.len) {
            // The next batch overwrites the partial one.
            let _ = file.set_len(self.segment.len);
            return Err(failed("write its journal", error));
        }
        if let Err(error) = measured(Target::Journal, || file.sync_data()) {
            return Err(self.failure.caused_by(failed("make an upload durable", error)));
        }
        self.segment.len = end;
        Ok(Written {
            segment: self.segment.live.clone(),
            offsets,
        })
    }

    /// Switches to the other segment, once it is free.
    fn rotate(&mut self) -> Result<()> {
        let Ok(file) = self.checkpoints.free() else {
            return Err(failure::unavailable());
        };
        self.epoch = epoch_after(self.epoch);
        let full = mem::replace(&mut self.segment, Segment::new(file));
        if self.checkpoints.push(full) {
            Ok(())
        } else {
            Err(failure::unavailable())
        }
    }
}

/// Returns an epoch that is greater than `last` and than that of every earlier process.
fn epoch_after(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).max(last + 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{error::ErrorKind, key::BlobKey, store::fs::journal::Content};

    #[test]
    fn refuses_every_change_after_a_failed_sync() {
        let root = tempfile::tempdir().unwrap();
        let dir = File::open(root.path()).unwrap();
        let journal = Journal::create(&dir, &dir).unwrap();
        let key = BlobKey::from_path("ACC/DOC/message.mp3").unwrap();
        let change = Change {
            key: &key,
            modified: SystemTime::now(),
            content: Content::Deleted,
            sidecar: None,
        };
        journal.sync_outside(|| Ok(())).unwrap();
        drop(journal.append(&change).unwrap());
        journal.check().unwrap();

        let failure = || Err(failed("make an upload durable", io::Error::other("the disk")));
        for error in [
            journal.sync_outside(failure).unwrap_err(),
            journal.append(&change).unwrap_err(),
            journal.check().unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.message().contains("opened again"), "{error}");
        }
    }
}
