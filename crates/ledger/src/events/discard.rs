//! [`Ledger::discard`]: removes undelivered events.

use kazoo_storage::Result;

use super::{
    conditions::Conditions,
    selection::{Events, Selection},
};
#[cfg(feature = "postgres")]
use crate::database::statement;
use crate::{
    database::{Engine, Statement},
    ledger::Ledger,
    outbox,
};

impl Ledger {
    /// Removes the events of `selection`. Returns their number. An event that is being sent may still arrive.
    ///
    /// Runs in batches that leave time for uploads. Calls `progress` with the number so far after each.
    pub async fn discard(&self, selection: Selection, mut progress: impl FnMut(u64)) -> Result<u64> {
        let mut removed = 0;
        let mut changed = |_, rows: Vec<_>| {
            removed += rows.len() as u64;
            progress(removed);
        };
        match &selection.events {
            Events::Id(id) => {
                let statements = self.removal(id, &selection);
                let rows = self.change(statements).await?.pop().unwrap_or_default();
                changed(rows.len() as u64, rows);
                self.wake();
            }
            Events::Dead => {
                self.each_batch(&selection, |batch| vec![delete(batch)], changed)
                    .await?;
            }
        }
        Ok(removed)
    }

    /// Returns the statements that remove the events with `id`. The last one returns them.
    fn removal(&self, id: &str, selection: &Selection) -> Vec<Statement> {
        let mut statements = match self.engine() {
            Engine::Sqlite => Vec::new(),
            // Another server must not put events off behind these from now on.
            #[cfg(feature = "postgres")]
            Engine::Postgres => vec![lock(id)],
        };
        statements.extend([
            outbox::release_behind(id, selection.receiver.as_deref()),
            delete(selection.with_id(id)),
        ]);
        statements
    }
}

#[cfg(feature = "postgres")]
fn lock(id: &str) -> Statement {
    const SQL: &str = "SELECT seq FROM outbox WHERE event = $1 ORDER BY seq FOR UPDATE";
    statement!(SQL, id)
}

fn delete(events: Conditions) -> Statement {
    Statement {
        sql: format!("DELETE FROM outbox WHERE {} RETURNING seq", events.sql("", 1)).into(),
        parameters: events.into_parameters(),
    }
}
