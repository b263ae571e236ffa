//! Notes the time in the ledger, and tells of clocks that are wrong.

use std::{sync::atomic::Ordering, time::Duration};

use kazoo_storage::Result;
use tokio::time::{sleep, timeout};

use super::{Noted, Suspension};
use crate::{
    database::{Row, Statement, statement},
    ledger::Ledger,
    measure,
};

/// Interval between two notes.
const INTERVAL: Duration = Duration::from_secs(60);

/// Time until [`Ledger::keep_time`] ends after [`Ledger::close`].
const POLL: Duration = Duration::from_secs(1);

/// Selects the rows of the clock.
const READ: &str = "SELECT \
    (SELECT value FROM state WHERE name = 'clock_noted_at'), \
    (SELECT value FROM state WHERE name = 'clock_suspended'), \
    (SELECT value FROM state WHERE name = 'clock_confirmations')";

impl Noted {
    /// Returns the statement whose row [`from_row`](Self::from_row) reads.
    pub(crate) fn statement() -> Statement {
        statement!(READ)
    }

    pub(crate) fn from_row(mut row: Row) -> Result<Self> {
        Ok(Self {
            at: row.integer()?,
            is_suspended: row.integer()? != 0,
            confirmations: row.integer()?,
        })
    }
}

impl Ledger {
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
        const NOTE: &str = "UPDATE state SET value = $1 WHERE name = 'clock_noted_at'";
        const END: &str = "UPDATE state SET value = 0 WHERE name = 'clock_suspended'";
        const CONFIRM: &str = "UPDATE state SET value = value + 1 WHERE name = 'clock_confirmations' RETURNING value";
        let clock = self.clock();
        let reading = clock.source.read();
        let statements = vec![statement!(NOTE, reading.wall), statement!(END), statement!(CONFIRM)];
        let mut rows = self.change(statements).await?.into_iter().flatten();
        let confirmations = rows.next().map(|mut row| row.integer()).transpose()?;
        let mut state = clock.state();
        state.judge.trust(reading);
        state.confirmations = confirmations.unwrap_or(state.confirmations);
        (state.is_flagged, state.owns_flag) = (false, false);
        clock.noted.store(reading.wall, Ordering::Relaxed);
        Ok(())
    }

    /// Notes the time, and learns what other servers have noted.
    pub(crate) async fn note_time(&self) -> Result<()> {
        // Not if an operator has confirmed another time meanwhile.
        const NOTE: &str = "UPDATE state SET value = CASE WHEN value < $1 THEN $1 ELSE value END \
            WHERE name = 'clock_noted_at' AND $2 = (SELECT value FROM state WHERE name = 'clock_confirmations')";
        const FLAG: &str = "UPDATE state SET value = $1 WHERE name = 'clock_suspended' \
            AND $2 = (SELECT value FROM state WHERE name = 'clock_confirmations')";
        let clock = self.clock();
        let reading = clock.source.read();
        let (note, seen, flag) = {
            let mut state = clock.state();
            state.judge.check(reading);
            let is_wrong = state.judge.fault().is_some();
            let flag = (is_wrong || state.owns_flag).then_some(is_wrong);
            (state.judge.to_note(reading), state.confirmations, flag)
        };
        let mut statements = vec![statement!(NOTE, note, seen)];
        statements.extend(flag.map(|flag| statement!(FLAG, i64::from(flag), seen)));
        statements.push(Noted::statement());
        let rows = self.change(statements).await?.into_iter().flatten();
        let Some(noted) = rows.last().map(Noted::from_row).transpose()? else {
            return Ok(());
        };
        let mut state = clock.state();
        if noted.confirmations > state.confirmations {
            // The clock of that server was right. This one may be wrong.
            state.judge.compare(reading, noted.at);
            state.confirmations = noted.confirmations;
        }
        state.is_flagged = noted.is_suspended;
        state.owns_flag = flag == Some(true) && noted.is_suspended;
        clock.noted.store(noted.at, Ordering::Relaxed);
        Ok(())
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
