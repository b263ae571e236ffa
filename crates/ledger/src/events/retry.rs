//! [`Ledger::retry_event`] and [`Ledger::retry_dead`]: send events again.
//!
//! The events of a key must arrive in their order, but those behind a dead event were sent without it. If it were sent after
//! them, the receiver would take an old state of the file for the present one. So a dead event is sent only if the last event
//! of the file follows it, or is the event itself: that of the row in `files`, or a deletion if there is no row. Nor may a
//! later event be on its way: the receiver could process it before.

#[cfg(feature = "postgres")]
use std::time::Duration;

use kazoo_storage::Result;

use super::{backlog::EventState, conditions::Conditions, dead::Dead};
use crate::{
    database::{Engine, Statement},
    ledger::Ledger,
    time,
};

/// Time for which later events of a file wait, longer than a receiver takes to choose its next events.
#[cfg(feature = "postgres")]
const MOMENT: Duration = Duration::from_secs(1);

/// The condition for an event `o` that may be sent at the time `$1`, because the last event of the file follows it.
const IN_ORDER: &str = " AND EXISTS ( \
        SELECT 1 FROM outbox y WHERE y.receiver = o.receiver AND y.key = o.key AND y.seq >= o.seq AND \
        CASE WHEN y.event_kind = 'file.deleted' THEN NOT EXISTS (SELECT 1 FROM files f WHERE f.key = y.key) \
             ELSE EXISTS (SELECT 1 FROM files f WHERE f.key = y.key AND f.event = y.event) END) \
    AND NOT EXISTS ( \
        SELECT 1 FROM outbox y WHERE y.receiver = o.receiver AND y.key = o.key AND y.seq > o.seq AND y.claimed = 1 \
        AND y.due_at > $1)";

/// The result of [`Ledger::retry_event`] and [`Ledger::retry_dead`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retried {
    /// The number of events that are due now.
    pub retried: u64,
    /// The number of dead events that stay dead, because the receiver already has a later event of the same file.
    pub superseded: u64,
}

impl Ledger {
    /// Makes the events with this [id](crate::Event::id) due now: those of all receivers, or that of `receiver`. Returns
    /// `None` if there is none.
    ///
    /// A dead event whose receiver already has a later event of the same file stays dead, unless `superseded` is set: the
    /// receiver would take an old state of the file for the present one. An event that is being sent is not changed.
    pub async fn retry_event(&self, id: &str, receiver: Option<&str>, superseded: bool) -> Result<Option<Retried>> {
        let events = self.event(id).await?.into_iter();
        let events: Vec<_> = events
            .filter(|event| receiver.is_none_or(|name| event.receiver == name))
            .collect();
        if events.is_empty() {
            return Ok(None);
        }
        let mut done = Retried::default();
        for event in events {
            let selection = Conditions::of(&event.receiver).and("seq", "=", event.seq);
            let was_dead = event.state() == EventState::Dead;
            let rows = self.write(self.retry(selection, superseded)).await?.pop();
            let changed = rows.unwrap_or_default().len() as u64;
            done.retried += changed;
            done.superseded += u64::from(was_dead && changed == 0);
        }
        self.wake();
        Ok(Some(done))
    }

    /// Makes the events of `dead` due now, oldest first, in batches that leave time for uploads. Calls `progress` after each.
    ///
    /// An event whose receiver already has a later event of the same file is treated as by
    /// [`retry_event`](Self::retry_event).
    pub async fn retry_dead(&self, dead: Dead, superseded: bool, mut progress: impl FnMut(Retried)) -> Result<Retried> {
        let mut done = Retried::default();
        let changed = |size: u64, rows: Vec<_>| {
            let retried = rows.len() as u64;
            done.retried += retried;
            done.superseded += size.saturating_sub(retried);
            self.wake();
            progress(done);
        };
        self.each_batch(&dead, |batch| self.retry(batch, superseded), changed)
            .await?;
        Ok(done)
    }

    /// Returns the statements that make the events of `selection` due now. The last one returns them.
    fn retry(&self, selection: Conditions, superseded: bool) -> Vec<Statement> {
        let now = time::now();
        let mut statements = match self.engine() {
            Engine::Sqlite => Vec::new(),
            #[cfg(feature = "postgres")]
            Engine::Postgres => locks(&selection, now),
        };
        let sql = format!(
            "UPDATE outbox AS o SET due_at = $1, claimed = 0 WHERE {} AND \
             (o.due_at IS NULL{} OR o.due_at > $1 AND o.claimed = 0) RETURNING seq",
            selection.sql("o.", 2),
            if superseded { "" } else { IN_ORDER },
        );
        let mut parameters = vec![now.into()];
        parameters.extend(selection.into_parameters());
        statements.push(Statement {
            sql: sql.into(),
            parameters,
        });
        statements
    }
}

/// Returns the statements that keep uploads from changing the files of the events of `selection`, and receivers from taking
/// later events of the files, until the events are due.
///
/// A receiver on another server may have chosen a later event already, while the earlier one was dead. It chooses again if
/// that event is no longer due, so the later events wait for a moment.
#[cfg(feature = "postgres")]
fn locks(selection: &Conditions, now: i64) -> Vec<Statement> {
    let files = Statement {
        sql: format!(
            "SELECT f.key FROM files f WHERE f.key IN (SELECT o.key FROM outbox o WHERE {}) ORDER BY f.key FOR UPDATE",
            selection.sql("o.", 1)
        )
        .into(),
        parameters: selection.clone().into_parameters(),
    };
    let mut parameters = vec![time::after(now, MOMENT).into()];
    parameters.extend(selection.clone().into_parameters());
    let later = Statement {
        sql: format!(
            "UPDATE outbox AS y SET due_at = $1 FROM outbox o WHERE {} AND o.due_at IS NULL AND y.receiver = o.receiver \
             AND y.key = o.key AND y.seq > o.seq AND y.claimed = 0 AND y.due_at < $1 RETURNING y.seq",
            selection.sql("o.", 2)
        )
        .into(),
        parameters,
    };
    vec![files, later]
}
