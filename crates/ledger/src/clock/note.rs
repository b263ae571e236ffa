//! Notes the time in the database, and reads what other servers have noted.

use std::sync::atomic::Ordering;

use kazoo_storage::Result;

use super::{Clock, Noted};
use crate::database::{Database, Row, Statement, statement};

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

impl Clock {
    /// Trusts the clock from now on, and ends a suspension of retention.
    pub(crate) async fn confirm(&self, database: &Database) -> Result<()> {
        const NOTE: &str = "UPDATE state SET value = $1 WHERE name = 'clock_noted_at'";
        const END: &str = "UPDATE state SET value = 0 WHERE name = 'clock_suspended'";
        const CONFIRM: &str = "UPDATE state SET value = value + 1 WHERE name = 'clock_confirmations' RETURNING value";
        let reading = self.source.read();
        let statements = vec![statement!(NOTE, reading.wall), statement!(END), statement!(CONFIRM)];
        let mut rows = database.change(statements).await?.into_iter().flatten();
        let confirmations = rows.next().map(|mut row| row.integer()).transpose()?;
        let mut state = self.state();
        state.judge.trust(reading);
        state.confirmations = confirmations.unwrap_or(state.confirmations);
        (state.is_flagged, state.owns_flag) = (false, false);
        self.noted.store(reading.wall, Ordering::Relaxed);
        Ok(())
    }

    /// Notes the time, and learns what other servers have noted.
    pub(crate) async fn note(&self, database: &Database) -> Result<()> {
        // Not if an operator has confirmed another time meanwhile.
        const NOTE: &str = "UPDATE state SET value = CASE WHEN value < $1 THEN $1 ELSE value END \
            WHERE name = 'clock_noted_at' AND $2 = (SELECT value FROM state WHERE name = 'clock_confirmations')";
        const FLAG: &str = "UPDATE state SET value = $1 WHERE name = 'clock_suspended' \
            AND $2 = (SELECT value FROM state WHERE name = 'clock_confirmations')";
        let reading = self.source.read();
        let (note, seen, flag) = {
            let mut state = self.state();
            state.judge.check(reading);
            let is_wrong = state.judge.fault().is_some();
            let flag = (is_wrong || state.owns_flag).then_some(is_wrong);
            (state.judge.to_note(reading), state.confirmations, flag)
        };
        let mut statements = vec![statement!(NOTE, note, seen)];
        statements.extend(flag.map(|flag| statement!(FLAG, i64::from(flag), seen)));
        statements.push(Noted::statement());
        let rows = database.change(statements).await?.into_iter().flatten();
        let Some(noted) = rows.last().map(Noted::from_row).transpose()? else {
            return Ok(());
        };
        let mut state = self.state();
        if noted.confirmations > state.confirmations {
            // The clock of that server was right. This one may be wrong.
            state.judge.compare(reading, noted.at);
            state.confirmations = noted.confirmations;
        }
        state.is_flagged = noted.is_suspended;
        state.owns_flag = flag == Some(true) && noted.is_suspended;
        self.noted.store(noted.at, Ordering::Relaxed);
        Ok(())
    }
}
