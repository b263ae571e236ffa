//! [`Selection`]: the events that are retried or discarded.

use std::time::Instant;

use kazoo_storage::Result;

use super::{
    batches::{BATCH, yield_to_uploads},
    conditions::Conditions,
};
use crate::{
    database::{Row, Statement},
    ledger::Ledger,
};

/// The undelivered events that [`Ledger::retry`] sends again, or [`Ledger::discard`] removes.
///
/// ```
/// use kazoo_storage_ledger::events::Selection;
///
/// let one = Selection::event("01a22706-7734-72d7-a061-20ece2ac4584");
/// let all_of_a_receiver = Selection::dead().receiver("webhook:crm");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Selection {
    pub(super) events: Events,
    pub(super) receiver: Option<String>,
    pub(super) account: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum Events {
    Id(String),
    Dead,
}

impl Selection {
    /// Selects the undelivered events with this [id](crate::Event::id), waiting or dead: one for each receiver.
    pub fn event(id: impl Into<String>) -> Self {
        Self::new(Events::Id(id.into()))
    }

    /// Selects every dead event.
    pub fn dead() -> Self {
        Self::new(Events::Dead)
    }

    /// Only events of this receiver.
    pub fn receiver(mut self, name: impl Into<String>) -> Self {
        self.receiver = Some(name.into());
        self
    }

    /// Only events of the files of this account, the first segment of their keys.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    fn new(events: Events) -> Self {
        Self {
            events,
            receiver: None,
            account: None,
        }
    }

    /// Returns the conditions for the events with `id`.
    pub(super) fn with_id(&self, id: &str) -> Conditions {
        let conditions = Conditions::with_id(id);
        let conditions = match &self.receiver {
            Some(name) => conditions.and("receiver", "=", name.as_str()),
            None => conditions,
        };
        self.of_account(conditions)
    }

    /// Returns the conditions for the dead events of `receiver` whose number is above `after`.
    fn dead_of(&self, receiver: &str, after: i64) -> Conditions {
        self.of_account(Conditions::of(receiver).dead().and("seq", ">", after))
    }

    fn of_account(&self, conditions: Conditions) -> Conditions {
        match &self.account {
            Some(account) => conditions.below(account),
            None => conditions,
        }
    }
}

impl Ledger {
    /// Passes the dead events of `selection` to `change` in batches, oldest first. It returns the statements for a batch, which
    /// run in one transaction. Passes the size of the batch and the rows of the last statement to `changed`.
    pub(super) async fn each_batch(
        &self,
        selection: &Selection,
        change: impl Fn(Conditions) -> Vec<Statement>,
        mut changed: impl FnMut(u64, Vec<Row>),
    ) -> Result<()> {
        let receivers = match &selection.receiver {
            Some(name) => vec![name.clone()],
            None => self.receiver_names().await?,
        };
        for receiver in receivers {
            let mut after = 0;
            loop {
                let begun = Instant::now();
                let mut numbers = self.numbers(selection.dead_of(&receiver, after)).await?.into_iter();
                let size = numbers.len() as u64;
                let Some(last) = numbers.next_back() else { break };
                let batch = selection.dead_of(&receiver, after).and("seq", "<=", last);
                let rows = self.change(change(batch)).await?.pop().unwrap_or_default();
                changed(size, rows);
                after = last;
                yield_to_uploads(begun).await;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the first events that satisfy `conditions`.
    async fn numbers(&self, conditions: Conditions) -> Result<Vec<i64>> {
        let sql = format!(
            "SELECT seq FROM outbox WHERE {} ORDER BY seq LIMIT {BATCH}",
            conditions.sql("", 1)
        );
        let statement = Statement {
            sql: sql.into(),
            parameters: conditions.into_parameters(),
        };
        let rows = self.read(statement).await?;
        rows.into_iter().map(|mut row| row.integer()).collect()
    }
}
