//! Injects file system errors in tests. Does nothing in a release build.

use rustix::io::Errno;

/// A point at which an error can be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// Writing bytes to a staged file.
    Write,
    /// Writing a sidecar at its final path, or moving it there.
    PutSidecar,
    /// Moving media to its final path.
    PutMedia,
    /// Removing media.
    Unlink,
    /// Withdrawing a record.
    Withdraw,
    /// Setting a record aside.
    SetAside,
    /// Reading a segment of the journal.
    ReadJournal,
}

#[cfg(not(test))]
#[allow(clippy::unnecessary_wraps)]
pub(super) const fn at(_: Point) -> Result<(), Errno> {
    Ok(())
}

#[cfg(test)]
pub(super) use self::armed::{arm, at, disarm};

#[cfg(test)]
mod armed {
    use std::cell::RefCell;

    use super::{Errno, Point};

    thread_local! {
        static ARMED: RefCell<Vec<(Point, Errno)>> = const { RefCell::new(Vec::new()) };
    }

    /// Injects `errno` at `point` on this thread from now on.
    pub(in crate::store::fs) fn arm(point: Point, errno: Errno) {
        ARMED.with_borrow_mut(|armed| armed.push((point, errno)));
    }

    /// Stops the injection of errors.
    pub(in crate::store::fs) fn disarm() {
        ARMED.with_borrow_mut(Vec::clear);
    }

    pub(in crate::store::fs) fn at(point: Point) -> Result<(), Errno> {
        let armed = ARMED.with_borrow(|armed| armed.iter().find(|(armed, _)| *armed == point).copied());
        armed.map_or(Ok(()), |(_, errno)| Err(errno))
    }
}
