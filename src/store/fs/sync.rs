//! Syncs, each measured with the feature `metrics`.

use std::fs::File;

/// The target of a sync.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// The journal, for one change or several.
    Journal,
    /// An upload that is too long for the journal, or a check.
    Upload,
    /// The whole file system, at a checkpoint.
    FileSystem,
}

/// Writes out the file system of `root`.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn file_system(root: &File) -> rustix::io::Result<()> {
    rustix::fs::syncfs(root)
}

/// Writes out every file system.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps)]
pub(super) fn file_system(_: &File) -> rustix::io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

#[cfg(feature = "metrics")]
pub(super) fn measured<E>(target: Target, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    use metrics::{counter, histogram};

    use crate::metrics::{FSYNC_DURATION, FSYNC_ERRORS, LABEL_TARGET};

    let target = match target {
        Target::Journal => "journal",
        Target::Upload => "upload",
        Target::FileSystem => "file_system",
    };
    let begun = std::time::Instant::now();
    let result = sync();
    histogram!(FSYNC_DURATION, LABEL_TARGET => target).record(begun.elapsed());
    if result.is_err() {
        counter!(FSYNC_ERRORS, LABEL_TARGET => target).increment(1);
    }
    result
}

#[cfg(not(feature = "metrics"))]
pub(super) fn measured<E>(_: Target, sync: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    sync()
}
