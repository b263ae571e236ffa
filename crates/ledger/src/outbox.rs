//! The outbox: the events that were not delivered yet, one row for each receiver.

use std::time::Duration;

use kazoo_storage::{BlobKey, Error, ErrorKind, Result};

use crate::{
    database::{Engine, Row, Statement, statement},
    event::{Event, EventKind},
    ledger::Ledger,
    rows::{columns, encode, read},
    time,
};

/// Maximum length of the error that is kept with an event, in characters.
const MAX_ERROR: usize = 500;

/// The statement that adds the event of a file for each receiver. The last part of it are the columns of [`columns!`].
macro_rules! add {
    ($kind:literal) => {
        concat!(
            "INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, ",
            columns!(),
            ") SELECT r.name, f.event, ",
            $kind,
            ", CAST($1 AS BIGINT), CAST($1 AS BIGINT), ",
            columns!(),
            " FROM receivers r, files f WHERE r.active = 1 AND f.key = $2 AND f.event = $3"
        )
    };
}

/// Returns the statement that adds `event`, that of a stored file, for each receiver, if the file under `key` has it.
pub(crate) fn stored(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = add!("CASE WHEN f.revision = 1 THEN 'file.stored' ELSE 'file.replaced' END");
    statement!(SQL, time::now(), encode(key), event)
}

/// Returns the statement that adds `event`, that of a deleted file, for each receiver, if the file under `key` has it.
pub(crate) fn deleted(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = add!("'file.deleted'");
    statement!(SQL, time::now(), encode(key), event)
}

/// An event that a receiver has claimed until a time, after which others may claim it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    seq: i64,
    /// The number of attempts, this one included. It identifies the claim: a later claim has a higher number.
    pub(crate) attempts: i64,
    pub(crate) event: Event,
}

/// The statement that claims events. The events are chosen once, before the first is changed.
macro_rules! claim_sql {
    ($lock:literal) => {
        concat!(
            "WITH chosen (id) AS MATERIALIZED ( \
                SELECT o.seq FROM outbox o WHERE o.receiver = $1 AND o.due_at <= $2 AND NOT EXISTS ( \
                    SELECT 1 FROM outbox e \
                    WHERE e.receiver = o.receiver AND e.key = o.key AND e.seq < o.seq AND e.due_at IS NOT NULL) \
                ORDER BY o.due_at, o.seq LIMIT $3 ",
            $lock,
            ") UPDATE outbox SET due_at = $4, attempts = attempts + 1 FROM chosen WHERE seq = chosen.id \
            RETURNING seq, attempts, event, event_kind, recorded_at, ",
            columns!()
        )
    };
}

impl Ledger {
    /// Claims at most `limit` events of `receiver` that are due, for the time `visibility`. Events of one key are claimed
    /// one after the other, in their order.
    pub(crate) async fn claim(&self, receiver: &str, limit: usize, visibility: Duration) -> Result<Vec<Claim>> {
        let sql = match self.engine() {
            Engine::Sqlite => claim_sql!(""),
            // Another server that claims at the same time takes other events, and waits for nothing.
            #[cfg(feature = "postgres")]
            Engine::Postgres => claim_sql!("FOR UPDATE OF o SKIP LOCKED"),
        };
        let now = time::now();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let statement = statement!(sql, receiver, now, limit, time::after(now, visibility));
        let rows = self.write(vec![statement]).await?.into_iter().flatten();
        let mut claims: Vec<Claim> = rows.filter_map(|row| readable(claim(row), receiver)).collect();
        claims.sort_by_key(|claim| claim.seq);
        Ok(claims)
    }

    /// Removes events that the receiver does not want.
    #[cfg(feature = "webhooks")]
    pub(crate) async fn skip(&self, claims: &[Claim]) -> Result<()> {
        let statements = claims.iter().map(removal).collect();
        self.write(statements).await?;
        Ok(())
    }

    /// Removes a delivered event. Returns `false` if the claim has ended, so that it may be delivered again.
    pub(crate) async fn delivered(&self, claim: &Claim) -> Result<bool> {
        self.settle(removal(claim)).await
    }

    /// Makes a claimed event due again after `delay`, or declares it dead if that is `None`.
    pub(crate) async fn failed(&self, claim: &Claim, error: &str, delay: Option<Duration>) -> Result<bool> {
        const SQL: &str = "UPDATE outbox SET due_at = $1, error = $2 WHERE seq = $3 AND attempts = $4 RETURNING seq";
        let due = delay.map(|delay| time::after(time::now(), delay));
        let error = error.chars().take(MAX_ERROR).collect::<String>();
        self.settle(statement!(SQL, due, error, claim.seq, claim.attempts))
            .await
    }

    async fn settle(&self, statement: Statement) -> Result<bool> {
        Ok(self.write(vec![statement]).await?.into_iter().flatten().count() > 0)
    }
}

fn removal(claim: &Claim) -> Statement {
    const SQL: &str = "DELETE FROM outbox WHERE seq = $1 AND attempts = $2 RETURNING seq";
    statement!(SQL, claim.seq, claim.attempts)
}

/// Returns the claim, or logs why it cannot be read: one damaged row must not hold back the others.
fn readable(claim: Result<Claim>, receiver: &str) -> Option<Claim> {
    claim
        .inspect_err(|error| tracing::error!(receiver, %error, "an event of the ledger cannot be read, and is skipped"))
        .ok()
}

fn claim(mut row: Row) -> Result<Claim> {
    Ok(Claim {
        seq: row.integer()?,
        attempts: row.integer()?,
        event: Event {
            id: row.text()?,
            kind: kind(&row.text()?)?,
            time: time::from_millis(row.integer()?),
            file: read(row)?,
        },
    })
}

fn kind(name: &str) -> Result<EventKind> {
    name.parse().map_err(|error: Error| {
        Error::new(ErrorKind::Damaged, "an event of the ledger has an unknown kind").with_source(error)
    })
}
