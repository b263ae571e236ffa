//! [`Ledger::discard_event`] and [`Ledger::discard_dead`]: remove undelivered events.

use kazoo_storage::Result;

use super::{conditions::Conditions, dead::Dead};
use crate::{
    database::{Statement, statement},
    ledger::Ledger,
    outbox,
};

impl Ledger {
    /// Removes the undelivered events with this [id](crate::Event::id): those of all receivers, or that of `receiver`. Returns
    /// their number. An event that is being sent may still arrive.
    pub async fn discard_event(&self, id: &str, receiver: Option<&str>) -> Result<u64> {
        const ALL: &str = "DELETE FROM outbox WHERE event = $1 RETURNING seq";
        const ONE: &str = "DELETE FROM outbox WHERE event = $1 AND receiver = $2 RETURNING seq";
        let statement = match receiver {
            Some(receiver) => statement!(ONE, id, receiver),
            None => statement!(ALL, id),
        };
        let statements = vec![outbox::release_behind(id, receiver), statement];
        let removed = self.write(statements).await?.pop().unwrap_or_default().len();
        self.wake();
        Ok(removed as u64)
    }

    /// Removes the events of `dead`, in batches that leave time for uploads. Calls `progress` with the number so far after
    /// each. Returns the number.
    pub async fn discard_dead(&self, dead: Dead, mut progress: impl FnMut(u64)) -> Result<u64> {
        let mut removed = 0;
        let changed = |_, rows: Vec<_>| {
            removed += rows.len() as u64;
            progress(removed);
        };
        self.each_batch(&dead, |batch| vec![delete(batch)], changed).await?;
        Ok(removed)
    }
}

fn delete(events: Conditions) -> Statement {
    Statement {
        sql: format!("DELETE FROM outbox WHERE {} RETURNING seq", events.sql("", 1)).into(),
        parameters: events.into_parameters(),
    }
}
