//! [`ReceiverStatus`]: the receivers of events, and their removal.

use std::time::{Instant, SystemTime};

use kazoo_storage::Result;

use super::batches::{BATCH, yield_to_uploads};
use crate::{
    consumer::{AMQP, WEBHOOK},
    database::{Row, statement},
    gone_receivers::GoneReceivers,
    ledger::Ledger,
    time,
};

/// A receiver of events, and the number of those that it does not have yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverStatus {
    /// The name of the [consumer](Ledger::consumer), or the prefix of its kind, such as `webhook:`, and its configured name.
    pub name: String,
    /// The state of the receiver.
    pub state: ReceiverState,
    /// The number of events that wait.
    pub waiting: u64,
    /// The number of dead events.
    pub dead: u64,
    /// The time at which the oldest waiting event was recorded.
    pub oldest: Option<SystemTime>,
}

impl ReceiverStatus {
    /// Returns the kind of the receiver.
    #[must_use]
    pub fn kind(&self) -> ReceiverKind {
        match &*self.name {
            name if name.starts_with(WEBHOOK) => ReceiverKind::Webhook,
            name if name.starts_with(AMQP) => ReceiverKind::Amqp,
            _ => ReceiverKind::Consumer,
        }
    }
}

/// The state of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiverState {
    /// It gets the events that are recorded from now on.
    Active,
    /// It has answered 410 to this process, which sends it nothing until it is registered again. Its events are kept, also those that
    /// are recorded from now on.
    Gone,
    /// It is no longer registered: it gets no new events, and those that it has are kept.
    Inactive,
}

impl ReceiverState {
    /// Returns the name of the state: `active`, `gone` or `inactive`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Gone => "gone",
            Self::Inactive => "inactive",
        }
    }
}

/// The kind of a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReceiverKind {
    /// A webhook.
    Webhook,
    /// An exchange of an AMQP broker.
    Amqp,
    /// A [consumer](Ledger::consumer).
    Consumer,
}

impl ReceiverKind {
    /// Returns the name of the kind: `webhook`, `amqp` or `consumer`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Amqp => "amqp",
            Self::Consumer => "consumer",
        }
    }
}

/// The statement that describes the receivers. Counting reads the index entries of all events.
macro_rules! receivers_sql {
    ($condition:literal) => {
        concat!(
            "SELECT r.name, r.active, \
                (SELECT count(*) FROM outbox o WHERE o.receiver = r.name AND o.due_at IS NOT NULL), \
                (SELECT count(*) FROM outbox o WHERE o.receiver = r.name AND o.due_at IS NULL), \
                (SELECT o.recorded_at FROM outbox o WHERE o.receiver = r.name AND o.due_at IS NOT NULL \
                    ORDER BY o.seq LIMIT 1) \
            FROM receivers r ",
            $condition,
            "ORDER BY r.name"
        )
    };
}

impl Ledger {
    /// Returns the receivers of events, also those that are no longer configured.
    pub async fn receivers(&self) -> Result<Vec<ReceiverStatus>> {
        const SQL: &str = receivers_sql!("");
        let rows = self.read(statement!(SQL)).await?;
        let gone = self.gone();
        rows.into_iter().map(|row| receiver(row, &gone)).collect()
    }

    /// Returns the receiver `name`, if there is one.
    pub async fn receiver(&self, name: &str) -> Result<Option<ReceiverStatus>> {
        const SQL: &str = receivers_sql!("WHERE r.name = $1 ");
        let rows = self.read(statement!(SQL, name)).await?;
        let row = rows.into_iter().next();
        row.map(|row| receiver(row, &self.gone())).transpose()
    }

    /// Removes the receiver `name`, so that no more events are kept for it, and its undelivered events. Returns
    /// their number, or `None` if there is no such receiver.
    ///
    /// A program that still runs the consumer, or a server that still has the receiver in its configuration, gets nothing more
    /// until it registers it again. The events are removed in batches that leave time for uploads.
    pub async fn remove_receiver(&self, name: &str) -> Result<Option<u64>> {
        const RECEIVER: &str = "DELETE FROM receivers WHERE name = $1 RETURNING name";
        const LAST: &str =
            "SELECT max(seq) FROM (SELECT seq FROM outbox WHERE receiver = $1 ORDER BY seq LIMIT $2) AS batch";
        const EVENTS: &str = "DELETE FROM outbox WHERE receiver = $1 AND seq <= $2 RETURNING seq";
        let removal = self.change(vec![statement!(RECEIVER, name)]).await?;
        let existed = removal.into_iter().flatten().count() > 0;
        let mut removed = 0;
        loop {
            let begun = Instant::now();
            let last = self.read(statement!(LAST, name, BATCH)).await?.into_iter().next();
            let last = last.map(|mut row| row.optional_integer()).transpose()?.flatten();
            let Some(last) = last else { break };
            let rows = self.change(vec![statement!(EVENTS, name, last)]).await?;
            removed += rows.into_iter().flatten().count() as u64;
            yield_to_uploads(begun).await;
        }
        Ok((existed || removed > 0).then_some(removed))
    }
}

fn receiver(mut row: Row, gone: &GoneReceivers) -> Result<ReceiverStatus> {
    let name = row.text()?;
    let is_active = row.integer()? == 1;
    let state = match is_active {
        true if gone.contains(&name) => ReceiverState::Gone,
        true => ReceiverState::Active,
        false => ReceiverState::Inactive,
    };
    Ok(ReceiverStatus {
        name,
        state,
        waiting: u64::try_from(row.integer()?).unwrap_or_default(),
        dead: u64::try_from(row.integer()?).unwrap_or_default(),
        oldest: row.optional_integer()?.map(time::from_millis),
    })
}
