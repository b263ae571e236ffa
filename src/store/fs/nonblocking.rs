//! Opens and reads files without waiting for a disk.
//!
//! A round trip to a blocking thread costs more than a small fetch itself. So every read is first tried on the thread
//! that serves the request, with calls that fail instead of waiting, and moves to a blocking thread only if they fail.
//! Only Linux has such calls; on other systems they always fail.

use std::{
    fs::{self, File},
    ops::Range,
};

use bytes::Bytes;

use super::name::KeyPath;

/// The result of opening a path.
pub(super) enum Found {
    Absent,
    File(File, fs::Metadata),
}

/// Opens the file `name` in the directory of `path`; `None` if that could wait, or if it is not a regular file.
#[cfg(target_os = "linux")]
pub(super) fn open(root: &File, path: &KeyPath<'_>, name: &str) -> Option<Found> {
    use rustix::{
        fs::{Mode, ResolveFlags},
        io::Errno,
    };

    // One call; a walk from directory to directory needs two for each. It follows no link either.
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

/// Reads the bytes of `file` in `range`; `None` unless all of them are in memory.
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
pub(super) fn read(_: &File, _: Range<u64>) -> Option<Bytes> {
    None
}
