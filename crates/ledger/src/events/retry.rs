//! [`Ledger::retry`]: sends events again.
//!
//! The events of a key must arrive in their order, but those behind a dead event were sent without it. If it were sent after
//! them, the receiver would take an old state of the file for the present one. So a dead event is sent only if the last event
//! of the file follows it, or is the event itself: that of the row in `files`, or a deletion if there is no row. Nor may a
//! later event be on its way: the receiver could process it before.

#[cfg(feature = "postgres")]
use std::time::Duration;

use kazoo_storage::Result;

use super::{
    conditions::Conditions,
    selection::{Events, Selection},
};
use crate::{
    database::{Engine, Statement},
    ledger::Ledger,
    time,
};

/// Time for which later events of a file wait, longer than a receiver takes to choose its next events.
#[cfg(feature = "postgres")]
const MOMENT: Duration = Duration::from_secs(1);

/// The condition for an event `o` that may be sent at the time `$1`, because the last event of the file follows it. Each part
/// reads an index that does not have the other events of the file, of which there may be many.
const IN_ORDER: &str = " AND ( \
        EXISTS (SELECT 1 FROM files f, outbox y WHERE f.key = o.key AND y.event = f.event AND y.receiver = o.receiver \
            AND y.key = o.key AND y.seq >= o.seq) \
        OR NOT EXISTS (SELECT 1 FROM files f WHERE f.key = o.key) AND EXISTS ( \
            SELECT 1 FROM outbox y WHERE y.receiver = o.receiver AND y.key = o.key AND y.seq >= o.seq \
            AND y.event_kind = 'file.deleted')) \
    AND NOT EXISTS ( \
        SELECT 1 FROM outbox y WHERE y.receiver = o.receiver AND y.key = o.key AND y.seq > o.seq AND y.claimed = 1 \
        AND y.due_at > $1)";

/// The progress and the result of [`Ledger::retry`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retried {
    /// The number of events that were selected. Those that are being sent, or are due already, are not changed.
    pub selected: u64,
    /// The number of events that are due now.
    pub retried: u64,
    /// The number of dead events that stay dead, because the receiver already has a later event of the same file.
    pub superseded: u64,
}

impl Ledger {
    /// Makes the events of `selection` due now.
    ///
    /// A dead event whose receiver already has a later event of the same file stays dead, unless `superseded` is set: the
    /// receiver would take an old state of the file for the present one. An event that is being sent is not changed.
    ///
    /// Dead events are changed oldest first, in batches that leave time for uploads. Calls `progress` after each batch.
    pub async fn retry(
        &self,
        selection: Selection,
        superseded: bool,
        mut progress: impl FnMut(Retried),
    ) -> Result<Retried> {
        let mut done = Retried::default();
        match &selection.events {
            Events::Id(id) => {
                for (event, was_dead) in self.each_with_id(id, &selection).await? {
                    let rows = self.change(self.due(event, superseded)).await?.pop();
                    let retried = rows.unwrap_or_default().len() as u64;
                    done.selected += 1;
                    done.retried += retried;
                    done.superseded += u64::from(was_dead && retried == 0);
                }
                self.wake();
                progress(done);
            }
            Events::Dead => {
                let changed = |size: u64, rows: Vec<_>| {
                    let retried = rows.len() as u64;
                    done.selected += size;
                    done.retried += retried;
                    done.superseded += size.saturating_sub(retried);
                    self.wake();
                    progress(done);
                };
                self.each_batch(&selection, |batch| self.due(batch, superseded), changed)
                    .await?;
            }
        }
        Ok(done)
    }

    /// Returns the conditions for each of the events of `selection` with `id`, and `true` if it is dead.
    async fn each_with_id(&self, id: &str, selection: &Selection) -> Result<Vec<(Conditions, bool)>> {
        let conditions = selection.with_id(id);
        let sql = format!(
            "SELECT receiver, seq, due_at FROM outbox WHERE {} ORDER BY receiver, seq",
            conditions.sql("", 1)
        );
        let statement = Statement {
            sql: sql.into(),
            parameters: conditions.into_parameters(),
        };
        let rows = self.read(statement).await?.into_iter();
        rows.map(|mut row| {
            let event = Conditions::of(&row.text()?).and("seq", "=", row.integer()?);
            Ok((event, row.optional_integer()?.is_none()))
        })
        .collect()
    }

    /// Returns the statements that make the events of `selection` due now. The last one returns them.
    fn due(&self, selection: Conditions, superseded: bool) -> Vec<Statement> {
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
