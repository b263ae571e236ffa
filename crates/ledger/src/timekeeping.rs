//! The time of a [`Ledger`], and [`Ledger::keep_time`], which tells of clocks that are wrong.

use std::time::{Duration, SystemTime};

use kazoo_storage::Result;
use tokio::time::{sleep, timeout};

use crate::{clock::Suspension, ledger::Ledger, measure};

/// Interval between two notes.
const INTERVAL: Duration = Duration::from_secs(60);

/// Time until [`Ledger::keep_time`] ends after [`Ledger::close`].
const POLL: Duration = Duration::from_secs(1);

impl Ledger {
    /// Returns the time to record for an upload that ends now: that of the clock, but never before the last time that was noted.
    pub(crate) fn stored_now(&self) -> SystemTime {
        self.clock().stored_at()
    }

    /// Returns the present time for deletions: the time of the clock, or the time that it should have, whichever is earlier.
    ///
    /// A file whose time has come by this time is not deleted early.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock().now()
    }

    /// Returns why retention is suspended, if it is.
    #[must_use]
    pub fn suspension(&self) -> Option<Suspension> {
        self.clock().suspension()
    }

    /// Notes the time every minute, and logs when retention is suspended and when it continues, until [`close`](Self::close).
    ///
    /// Without it, a jump of the clock is detected only while the process runs, and the time of an upload may be before that of an
    /// earlier one.
    pub async fn keep_time(self) {
        let (mut suspended, mut failed) = (None, false);
        while !self.is_closed() {
            match self.note_time().await {
                Ok(()) => failed = false,
                Err(error) if !failed => {
                    tracing::warn!(%error, "the time cannot be noted in the ledger; it is tried again every minute");
                    failed = true;
                }
                Err(_) => {}
            }
            let now = self.suspension();
            measure::suspended(now.is_some());
            let fault = now.map(|suspension| suspension.fault);
            if suspended != fault {
                tell(now);
                suspended = fault;
            }
            let _ = timeout(INTERVAL, closed(&self)).await;
        }
    }

    /// Trusts the clock from now on, and ends a suspension of retention.
    ///
    /// Other servers that use the ledger continue within a minute if their clocks agree with this one.
    pub async fn confirm_time(&self) -> Result<()> {
        self.clock().confirm(self.database()).await
    }

    /// Notes the time, and learns what other servers have noted.
    pub(crate) async fn note_time(&self) -> Result<()> {
        self.clock().note(self.database()).await
    }
}

async fn closed(ledger: &Ledger) {
    while !ledger.is_closed() {
        sleep(POLL).await;
    }
}

fn tell(suspension: Option<Suspension>) {
    if let Some(suspension) = suspension {
        tracing::error!(
            fault = suspension.fault.as_str(),
            "retention is suspended: {suspension}; correct the clock, or confirm it with `kazoo-storage retention resume`"
        );
    } else {
        tracing::info!("retention continues");
    }
}
