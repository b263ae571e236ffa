//! [`Segment`]: one of the two files of the journal.

use std::{
    convert::Infallible,
    fs::File,
    io::{self, IoSlice, Seek as _, SeekFrom, Write as _},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{error::Result, store::fs::error::failed};

/// The names of the segments in the staging directory.
pub(in crate::store::fs) const SEGMENTS: [&str; 2] = ["journal.0", "journal.1"];

/// The maximum length of a segment, in bytes. One batch may exceed it.
///
/// The disk needs twice as much for the journal, and a recovery reads as much. Longer segments are no faster (measured
/// as in the [module](super)), and every upload waits while much is written out at once: with 8 MiB, one upload in a
/// hundred takes three times the median, with 64 MiB five times.
pub(super) const MAX_LEN: u64 = 8 << 20;

/// A segment that is being written, or waits for its checkpoint.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) len: u64,
    pub(super) live: Live,
    /// Disconnected when the last change of the segment is applied.
    pub(super) applied: Receiver<Infallible>,
}

/// A handle of a segment. The segment is not overwritten while a handle lives.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) file: Arc<File>,
    _live: Sender<Infallible>,
}

impl Segment {
    pub(super) fn new(file: Arc<File>) -> Self {
        let (sender, applied) = mpsc::channel();
        Self {
            len: 0,
            live: Live { file, _live: sender },
            applied,
        }
    }
}

/// Creates the segment `name` in `dir`, durably empty.
pub(super) fn create(dir: &File, name: &str) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let unopened = |error| failed("open its journal", error);
    let segment = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600));
    let segment = File::from(segment.map_err(|errno| unopened(errno.into()))?);
    segment.sync_all().map_err(unopened)?;
    dir.sync_all().map_err(unopened)?;
    Ok(segment)
}

/// Opens the segment `name` in `dir` for reading, if it exists.
pub(super) fn open(dir: &File, name: &str) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failed("open its journal", errno)),
    }
}

/// Writes all `slices` at `offset`.
pub(super) fn write_all(mut file: &File, mut slices: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
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
