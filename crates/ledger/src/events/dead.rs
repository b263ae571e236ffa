//! [`Dead`]: the dead events that are retried or discarded together.

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

/// The dead events of a receiver, of an account, or all of them.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Dead {
    receiver: Option<String>,
    account: Option<String>,
}

impl Dead {
    /// Every dead event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only the events of this receiver.
    pub fn receiver(mut self, name: impl Into<String>) -> Self {
        self.receiver = Some(name.into());
        self
    }

    /// Only the events of the files of this account, the first segment of their keys.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Selects the events of `receiver` among them whose number is above `after`.
    fn conditions(&self, receiver: &str, after: i64) -> Conditions {
        let conditions = Conditions::of(receiver).dead().and("seq", ">", after);
        match &self.account {
            Some(account) => conditions.below(account),
            None => conditions,
        }
    }
}

impl Ledger {
    /// Passes the events of `dead` to `change` in batches, oldest first. It returns the statements for a batch, which run in
    /// one transaction. Passes the size of the batch and the rows of the last statement to `changed`.
    pub(super) async fn each_batch(
        &self,
        dead: &Dead,
        change: impl Fn(Conditions) -> Vec<Statement>,
        mut changed: impl FnMut(u64, Vec<Row>),
    ) -> Result<()> {
        let receivers = match &dead.receiver {
            Some(name) => vec![name.clone()],
            None => self.receiver_names().await?,
        };
        for receiver in receivers {
            let mut after = 0;
            loop {
                let begun = Instant::now();
                let mut numbers = self.numbers(&receiver, dead, after).await?.into_iter();
                let size = numbers.len() as u64;
                let Some(last) = numbers.next_back() else { break };
                let batch = dead.conditions(&receiver, after).and("seq", "<=", last);
                let statements = change(batch);
                let rows = self.write(statements).await?.pop().unwrap_or_default();
                changed(size, rows);
                after = last;
                yield_to_uploads(begun).await;
            }
        }
        Ok(())
    }

    /// Returns the numbers of the next events of `dead`.
    async fn numbers(&self, receiver: &str, dead: &Dead, after: i64) -> Result<Vec<i64>> {
        let conditions = dead.conditions(receiver, after);
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
