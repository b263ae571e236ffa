//! Reads that never wait for a disk: what the kernel holds in memory is read where the request is served.
//!
//! A hop to a blocking thread and back costs a small fetch more than the fetch itself. So each read is first tried
//! here, with calls that give up instead of waiting, and goes to a blocking thread only if they do. Only Linux has such
//! calls; elsewhere they always give up.

use std::{
    fs::{self, File},
    ops::Range,
    os::unix::fs::MetadataExt as _,
};

use bytes::Bytes;

use super::name::KeyPath;

/// A file as the file system knows it: another content has another stamp, whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) len: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(stat: &fs::Metadata) -> Self {
        Self {
            dev: stat.dev(),
            ino: stat.ino(),
            len: stat.len(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed: (stat.ctime(), stat.ctime_nsec()),
        }
    }
}

/// What there is at a path.
pub(super) enum Found {
    Absent,
    File(File, fs::Metadata),
}

/// Opens the file called `name` in the directory of `path`; `None` if only a look that may wait can tell.
#[cfg(target_os = "linux")]
pub(super) fn open(root: &File, path: &KeyPath<'_>, name: &str) -> Option<Found> {
    use rustix::{
        fs::{Mode, ResolveFlags},
        io::Errno,
    };

    // One call, where a walk from directory to directory would need two for each of them. It follows no link either.
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    let relative = path.relative(name);
    match rustix::fs::openat2(root, relative, super::tree::READ, Mode::empty(), resolve) {
        Ok(file) => {
            let file = File::from(file);
            let stat = file.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(Found::File(file, stat))
        }
        // Nothing is stored beneath a file.
        Err(Errno::NOENT | Errno::NOTDIR) => Some(Found::Absent),
        Err(_) => None,
    }
}

/// Whether the file at the relative `path` has this `stamp`, or there is no file and none is expected.
///
/// `false` too if it cannot be told. A link on the way is followed, and may lead anywhere, but not to a file with the
/// stamp of another.
#[cfg(target_os = "linux")]
pub(super) fn is_still(root: &File, path: &str, stamp: Option<Stamp>) -> bool {
    use rustix::{
        fs::{AtFlags, StatxFlags},
        io::Errno,
    };

    // What is in memory will do: nobody but this process stores here.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC;
    match rustix::fs::statx(root, path, flags, StatxFlags::BASIC_STATS) {
        Ok(stat) => {
            let found = Stamp {
                dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
                ino: stat.stx_ino,
                len: stat.stx_size,
                modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec.into()),
                changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec.into()),
            };
            stamp == Some(found)
        }
        Err(errno) => errno == Errno::NOENT && stamp.is_none(),
    }
}

/// The bytes of `file` in `range`; `None` if not all of them are in memory.
#[cfg(target_os = "linux")]
pub(super) fn read(file: &File, range: Range<u64>) -> Option<Bytes> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
    let mut read = 0;
    while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
        let offset = range.start + read as u64;
        match preadv2(file, &mut [IoSliceMut::new(rest)], offset, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(_) => return None,
            Ok(some) => read += some,
        }
    }
    Some(bytes.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn open(_: &File, _: &KeyPath<'_>, _: &str) -> Option<Found> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_still(_: &File, _: &str, _: Option<Stamp>) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn read(_: &File, _: Range<u64>) -> Option<Bytes> {
    None
}
