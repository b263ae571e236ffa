//! [`Source`]: the clocks of the machine, or those of a test.

use std::{fmt, sync::Arc, time::Instant};

use super::judge::Reading;
use crate::time;

/// Reads the clocks.
#[derive(Clone)]
pub(crate) struct Source(Arc<dyn Fn() -> Reading + Send + Sync>);

impl Source {
    pub(crate) fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(super) fn read(&self) -> Reading {
        (self.0)()
    }
}

impl Default for Source {
    fn default() -> Self {
        let origin = Instant::now();
        Self::new(move || Reading {
            wall: time::now(),
            monotonic: time::after(0, origin.elapsed()),
        })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}
