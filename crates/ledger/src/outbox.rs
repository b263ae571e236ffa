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
    receiver: String,
    seq: i64,
    /// The number of attempts, this one included. It identifies the claim: a later claim has a higher number.
    pub(crate) attempts: i64,
    pub(crate) event: Event,
}

/// Maximum number of due events that are read to find some that can be claimed, or that are put off, at once. It bounds the
/// time for which uploads wait.
macro_rules! window {
    () => {
        "256"
    };
}

/// Time for which an event that waits behind another one of its key is put off. It becomes due when that is settled.
///
/// On PostgreSQL, a server can record an event and put it off in one transaction while another server settles the one before
/// it. Neither sees the change of the other, so the event becomes due only after this time.
fn behind(engine: Engine) -> Duration {
    match engine {
        Engine::Sqlite => Duration::from_secs(600),
        #[cfg(feature = "postgres")]
        Engine::Postgres => Duration::from_secs(30),
    }
}

/// Selects the due events `o` of the receiver `$1` at the time `$2` for which `$condition` holds for an earlier event `e` of the
/// same key.
macro_rules! due {
    ($condition:literal) => {
        concat!(
            "SELECT o.seq FROM ( \
                SELECT seq FROM outbox WHERE receiver = $1 AND due_at <= $2 ORDER BY due_at, seq LIMIT ",
            window!(),
            // SQLite reads the tables of a cross join in this order.
            ") w CROSS JOIN outbox o WHERE o.seq = w.seq AND o.receiver = $1 AND o.due_at <= $2 AND ",
            $condition,
            " (SELECT 1 FROM outbox e \
                WHERE e.receiver = o.receiver AND e.key = o.key AND e.seq < o.seq AND e.due_at IS NOT NULL) "
        )
    };
}

/// The statement that claims at most `$3` events until `$4`. The events are chosen once, before the first is changed.
macro_rules! claim_sql {
    ($lock:literal) => {
        concat!(
            "WITH chosen (id) AS MATERIALIZED (",
            due!("NOT EXISTS"),
            "LIMIT $3 ",
            $lock,
            ") UPDATE outbox SET due_at = $4, claimed = 1, attempts = attempts + 1 FROM chosen WHERE seq = chosen.id \
            RETURNING seq, attempts, event, event_kind, recorded_at, ",
            columns!()
        )
    };
}

/// The statement that puts events off until `$3`.
macro_rules! put_off_sql {
    ($lock:literal) => {
        concat!(
            "WITH chosen (id) AS MATERIALIZED (",
            due!("EXISTS"),
            $lock,
            ") UPDATE outbox SET due_at = $3, claimed = 0 FROM chosen WHERE seq = chosen.id RETURNING seq"
        )
    };
}

/// Makes the events due again that were put off until `$3`, and that no longer wait: PostgreSQL puts off an event although
/// another server settles the one before it at the same moment. This statement sees that it is settled. If it is settled later,
/// [`release`] waits for this transaction.
const RECALL: &str = "UPDATE outbox SET due_at = $1 WHERE receiver = $2 AND due_at = $3 AND NOT EXISTS ( \
        SELECT 1 FROM outbox e \
        WHERE e.receiver = outbox.receiver AND e.key = outbox.key AND e.seq < outbox.seq AND e.due_at IS NOT NULL) \
    RETURNING seq";

impl Ledger {
    /// Claims at most `limit` events of `receiver` that are due, for the time `visibility`. Events of one key are claimed
    /// one after the other, in their order.
    pub(crate) async fn claim(&self, receiver: &str, limit: usize, visibility: Duration) -> Result<Vec<Claim>> {
        loop {
            let claims = self.claim_some(receiver, limit, visibility).await?;
            // Otherwise events that wait behind others could hide all that do not.
            if claims.len() >= limit || !self.put_off(receiver).await? || !claims.is_empty() {
                return Ok(claims);
            }
        }
    }

    /// Claims events that are among the first that are due.
    async fn claim_some(&self, receiver: &str, limit: usize, visibility: Duration) -> Result<Vec<Claim>> {
        let statement = claiming(self.engine(), receiver, limit, visibility);
        let rows = self.write(vec![statement]).await?.into_iter().flatten();
        let mut claims: Vec<Claim> = rows
            .filter_map(|row| readable(claim(row, receiver), receiver))
            .collect();
        claims.sort_by_key(|claim| claim.seq);
        Ok(claims)
    }

    /// Puts off the first due events that wait behind another one of their key. Returns `true` if there were some.
    async fn put_off(&self, receiver: &str) -> Result<bool> {
        const DUE: &str = "SELECT seq FROM outbox WHERE receiver = $1 AND due_at <= $2 LIMIT 1";
        let sql = match self.engine() {
            Engine::Sqlite => put_off_sql!(""),
            #[cfg(feature = "postgres")]
            Engine::Postgres => put_off_sql!("FOR UPDATE OF o SKIP LOCKED"),
        };
        let now = time::now();
        // Most often none is due, and nothing needs to be written.
        if self.read(statement!(DUE, receiver, now)).await?.is_empty() {
            return Ok(false);
        }
        let until = time::after(now, behind(self.engine()));
        let put_off = statement!(sql, receiver, now, until);
        let recall = statement!(RECALL, now, receiver, until);
        Ok(self.write(vec![put_off, recall]).await?.into_iter().flatten().count() > 0)
    }

    /// Removes events that the receiver does not want.
    #[cfg(any(feature = "amqp", feature = "webhooks"))]
    pub(crate) async fn skip(&self, claims: &[Claim]) -> Result<()> {
        let statements = claims
            .iter()
            .flat_map(|claim| [removal(claim), release(claim)])
            .collect();
        self.write(statements).await?;
        Ok(())
    }

    /// Removes a delivered event. Returns `false` if the claim has ended, so that it may be delivered again.
    pub(crate) async fn delivered(&self, claim: &Claim) -> Result<bool> {
        self.settle(vec![removal(claim), release(claim)]).await
    }

    /// Makes a claimed event due again after `delay`, or declares it dead if that is `None`.
    pub(crate) async fn failed(&self, claim: &Claim, error: &str, delay: Option<Duration>) -> Result<bool> {
        const SQL: &str = "UPDATE outbox SET due_at = $1, claimed = 0, error = $2 \
            WHERE seq = $3 AND attempts = $4 RETURNING seq";
        let due = delay.map(|delay| time::after(time::now(), delay));
        let error = error.chars().take(MAX_ERROR).collect::<String>();
        let mut statements = vec![statement!(SQL, due, error, claim.seq, claim.attempts)];
        if due.is_none() {
            statements.push(release(claim));
        }
        self.settle(statements).await
    }

    async fn settle(&self, statements: Vec<Statement>) -> Result<bool> {
        let settled = self.write(statements).await?.into_iter().next();
        Ok(settled.is_some_and(|rows| !rows.is_empty()))
    }
}

/// Returns the statement that claims events, as [`Ledger::claim`] does.
pub(crate) fn claiming(engine: Engine, receiver: &str, limit: usize, visibility: Duration) -> Statement {
    let sql = match engine {
        Engine::Sqlite => claim_sql!(""),
        // Another server that claims at the same time takes other events, and waits for nothing.
        #[cfg(feature = "postgres")]
        Engine::Postgres => claim_sql!("FOR UPDATE OF o SKIP LOCKED"),
    };
    let now = time::now();
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    statement!(sql, receiver, now, limit, time::after(now, visibility))
}

fn removal(claim: &Claim) -> Statement {
    const SQL: &str = "DELETE FROM outbox WHERE seq = $1 AND attempts = $2 RETURNING seq";
    statement!(SQL, claim.seq, claim.attempts)
}

/// Makes the event due that waits behind the settled one. It is written even if it is due: another server may be putting it off.
fn release(claim: &Claim) -> Statement {
    const SQL: &str = "UPDATE outbox SET due_at = CASE WHEN due_at > $1 THEN $1 ELSE due_at END \
        WHERE claimed = 0 AND seq = ( \
            SELECT min(seq) FROM outbox WHERE receiver = $2 AND key = $3 AND due_at IS NOT NULL AND seq > $4)";
    statement!(
        SQL,
        time::now(),
        &*claim.receiver,
        encode(&claim.event.file.key),
        claim.seq
    )
}

/// Makes the events due that wait behind `event`, which is about to be removed from the queue of `receiver`, or from all.
pub(crate) fn release_behind(event: &str, receiver: Option<&str>) -> Statement {
    const SQL: &str = "UPDATE outbox SET due_at = CASE WHEN due_at > $1 THEN $1 ELSE due_at END \
        WHERE claimed = 0 AND seq IN ( \
            SELECT (SELECT min(n.seq) FROM outbox n \
                WHERE n.receiver = e.receiver AND n.key = e.key AND n.due_at IS NOT NULL AND n.seq > e.seq) \
            FROM outbox e WHERE e.event = $2 AND e.receiver = COALESCE(CAST($3 AS TEXT), e.receiver))";
    statement!(SQL, time::now(), event, receiver)
}

/// Returns the claim, or logs why it cannot be read: one damaged row must not hold back the others.
fn readable(claim: Result<Claim>, receiver: &str) -> Option<Claim> {
    claim
        .inspect_err(|error| tracing::error!(receiver, %error, "an event of the ledger cannot be read, and is skipped"))
        .ok()
}

fn claim(mut row: Row, receiver: &str) -> Result<Claim> {
    Ok(Claim {
        receiver: receiver.to_owned(),
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

pub(crate) fn kind(name: &str) -> Result<EventKind> {
    name.parse().map_err(|error: Error| {
        Error::new(ErrorKind::Damaged, "an event of the ledger has an unknown kind").with_source(error)
    })
}
