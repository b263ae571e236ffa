use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How many requests are being answered, and how many may be.
pub(super) struct Room {
    taken: AtomicUsize,
    max: usize,
}

/// The place of one request; its end makes room for the next.
pub(super) struct Permit(Arc<Room>);

impl Room {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            max,
        })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Option<Permit> {
        let more = |taken| (taken < self.max).then_some(taken + 1);
        // The count guards nothing but itself.
        let entered = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        entered.is_ok().then(|| Permit(Arc::clone(self)))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.taken.load(Ordering::Relaxed), self.max)
    }
}
