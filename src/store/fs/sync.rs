//! What takes the disk's time: each sync goes through here, and is measured with the feature `metrics`.

/// What is synced.
#[derive(Clone, Copy)]
pub(super) enum Target {
    /// The journal, for one upload or several.
    Journal,
    /// An upload that is too long for the journal, or a check.
    Upload,
    /// All of the file system, at a checkpoint.
    FileSystem,
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
