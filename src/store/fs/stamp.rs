//! [`Stamp`]: detects changes of a file without opening it.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
};

/// The identity of a file in the file system. Every change of the content, by any program, changes the stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    dev: u64,
    ino: u64,
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The stamps of media and of its sidecar, if there is one, taken before they were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamps {
    pub(super) media: Stamp,
    pub(super) sidecar: Option<Stamp>,
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

/// Returns `true` if the file at the relative `path` has this `stamp`, or if none is expected and it does not exist.
///
/// Returns `false` if that cannot be determined without waiting. Links on the path are followed, but no other file has
/// the same stamp.
#[cfg(target_os = "linux")]
pub(super) fn is_current(root: &File, path: &str, stamp: Option<Stamp>) -> bool {
    use rustix::{
        fs::{AtFlags, StatxFlags},
        io::Errno,
    };

    // The kernel's copy suffices, because only this process stores files here.
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

#[cfg(not(target_os = "linux"))]
pub(super) fn is_current(_: &File, _: &str, _: Option<Stamp>) -> bool {
    false
}
