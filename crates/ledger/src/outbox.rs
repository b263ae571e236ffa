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

/// The statement that adds the event `$kind` of the file `f`, which `$files` selects, for each receiver, at the time `$time`.
macro_rules! add {
    ($kind:expr, $time:literal, $files:literal) => {
        concat!(
            "INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, ",
            columns!(),
            ") SELECT r.name, f.event, ",
            $kind,
            ", CAST(",
            $time,
            " AS BIGINT), CAST(",
            $time,
            " AS BIGINT), ",
            columns!(),
            " FROM receivers r, ",
            $files
        )
    };
}

/// The kind of the event of a stored file `f`.
macro_rules! stored_kind {
    () => {
        "CASE WHEN f.revision IN (0, 1) THEN 'file.stored' ELSE 'file.replaced' END"
    };
}

/// The statement of [`stored`] and [`deleted`].
macro_rules! add_known {
    ($kind:expr) => {
        add!(
            $kind,
            "$1",
            "files f WHERE r.active = 1 AND f.key = $2 AND f.event = $3"
        )
    };
}

/// The statement that adds the event of a stored file, the row `f` of a common table expression, at the time `$time`.
#[cfg(feature = "postgres")]
macro_rules! add_stored {
    ($time:literal) => {
        $crate::outbox::add!($crate::outbox::stored_kind!(), $time, "f WHERE r.active = 1")
    };
}
#[cfg(feature = "postgres")]
pub(crate) use {add, add_stored, stored_kind};

/// Returns the statement that adds `event`, that of a stored file, for each receiver, if the file under `key` has it.
pub(crate) fn stored(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = add_known!(stored_kind!());
    let mut statement = statement!(SQL, time::now(), encode(key), event);
    statement.sql.guard = Some("SELECT 1 FROM receivers WHERE active = 1 LIMIT 1");
    statement
}

/// Returns the statement that adds `event`, that of a deleted file, for each receiver, if the file under `key` has it.
pub(crate) fn deleted(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = add_known!("'file.deleted'");
    statement!(SQL, time::now(), encode(key), event)
}

/// Returns the statements that remove what the file under `key`, if it has `event`, and its undelivered events tell of people.
pub(crate) fn erase(key: &BlobKey, event: &str) -> [Statement; 2] {
    const EVENTS: &str = "UPDATE outbox SET metadata = NULL, call_id = NULL, caller_number = NULL, callee_number = NULL \
        WHERE receiver IN (SELECT name FROM receivers) AND key = $1 \
        AND EXISTS (SELECT 1 FROM files f WHERE f.key = $1 AND f.event = $2)";
    // The event of the deletion has the columns of the file.
    const FILE: &str = "UPDATE files SET metadata = NULL, call_id = NULL, caller_number = NULL, callee_number = NULL \
        WHERE key = $1 AND event = $2";
    [
        statement!(EVENTS, encode(key), event),
        statement!(FILE, encode(key), event),
    ]
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

impl Claim {
    /// Returns the statement that makes the event due that waits behind this one, when this one is settled.
    fn release(&self) -> Statement {
        release(&self.receiver, &self.event.file.key, self.seq)
    }
}

/// Maximum number of due events that are read to find some that can be claimed, or that are put off, at once. It bounds the
/// time for which uploads wait.
macro_rules! window {
    () => {
        "256"
    };
}

/// Time for which an event that waits behind another one of its key is put off. It becomes due when that is settled.
const BEHIND: Duration = Duration::from_secs(600);

/// The part of a statement that reads the first due events `o` of the receiver `$1` at the time `$2`.
macro_rules! due {
    () => {
        concat!(
            " FROM (SELECT seq FROM outbox WHERE receiver = $1 AND due_at <= $2 ORDER BY due_at, seq LIMIT ",
            window!(),
            // SQLite reads the tables of a cross join in this order.
            ") w CROSS JOIN outbox o WHERE o.seq = w.seq AND o.receiver = $1 AND o.due_at <= $2 "
        )
    };
}

/// Selects the `$column` of the events that are waiting before the event `o` of the same key.
macro_rules! before {
    ($column:literal) => {
        concat!(
            "SELECT ",
            $column,
            " FROM outbox e WHERE e.receiver = o.receiver AND e.key = o.key AND e.seq < o.seq AND e.due_at IS NOT NULL"
        )
    };
}

/// The statement that claims at most `$3` events until `$4`. The events are chosen once, before the first is changed.
macro_rules! claim_sql {
    ($lock:literal) => {
        concat!(
            "WITH chosen (id) AS MATERIALIZED (SELECT o.seq",
            due!(),
            "AND NOT EXISTS (",
            before!("1"),
            ") LIMIT $3 ",
            $lock,
            ") UPDATE outbox SET due_at = $4, claimed = 1, attempts = attempts + 1 FROM chosen WHERE seq = chosen.id \
            RETURNING seq, attempts, event, event_kind, recorded_at, ",
            columns!()
        )
    };
}

/// The statement that puts events off until `$3`. It locks each together with the one that waits before it.
macro_rules! put_off_sql {
    ($lock:literal) => {
        concat!(
            "WITH blocked (id, before) AS MATERIALIZED (SELECT o.seq, (",
            before!("e.seq"),
            " ORDER BY e.seq DESC LIMIT 1)",
            due!(),
            "), chosen (id) AS MATERIALIZED (SELECT o.seq FROM blocked b CROSS JOIN outbox e CROSS JOIN outbox o \
                WHERE e.seq = b.before AND e.due_at IS NOT NULL AND o.seq = b.id AND o.due_at <= $2 ",
            $lock,
            ") UPDATE outbox SET due_at = $3, claimed = 0 FROM chosen WHERE seq = chosen.id RETURNING seq"
        )
    };
}

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

    /// Claims events that are among the first that are due. Those that cannot be read are dead: they must not hold back the later
    /// events of their keys.
    async fn claim_some(&self, receiver: &str, limit: usize, visibility: Duration) -> Result<Vec<Claim>> {
        loop {
            let statement = claiming(self.engine(), receiver, limit, visibility);
            let rows = self.change_claims(vec![statement]).await?.into_iter().flatten();
            let (mut claims, mut burials) = (Vec::new(), Vec::new());
            for mut row in rows {
                let (seq, attempts) = (row.integer()?, row.integer()?);
                match event(row) {
                    Ok(event) => claims.push(Claim {
                        receiver: receiver.to_owned(),
                        seq,
                        attempts,
                        event,
                    }),
                    Err(error) => {
                        tracing::error!(receiver, seq, %error, "an event of the ledger cannot be read, and is given up");
                        burials.extend(burial(seq, attempts, &error));
                    }
                }
            }
            let has_buried = !burials.is_empty();
            if has_buried {
                self.change_claims(burials).await?;
            }
            if !claims.is_empty() || !has_buried {
                claims.sort_by_key(|claim| claim.seq);
                return Ok(claims);
            }
        }
    }

    /// Puts off the first due events that wait behind another one of their key. Returns `true` if there were some.
    async fn put_off(&self, receiver: &str) -> Result<bool> {
        const DUE: &str = "SELECT seq FROM outbox WHERE receiver = $1 AND due_at <= $2 LIMIT 1";
        // Most often none is due, and nothing needs to be written.
        if self.read(statement!(DUE, receiver, time::now())).await?.is_empty() {
            return Ok(false);
        }
        let put_off = putting_off(self.engine(), receiver);
        Ok(self.change_put_off(vec![put_off]).await?.into_iter().flatten().count() > 0)
    }

    /// Removes events that the receiver does not want.
    #[cfg(any(feature = "amqp", feature = "webhooks"))]
    pub(crate) async fn skip(&self, claims: &[Claim]) -> Result<()> {
        let statements = claims
            .iter()
            .flat_map(|claim| [removal(claim), claim.release()])
            .collect();
        self.change_claims(statements).await?;
        Ok(())
    }

    /// Removes a delivered event. Returns `false` if the claim has ended, so that it may be delivered again.
    pub(crate) async fn delivered(&self, claim: &Claim) -> Result<bool> {
        self.settle(vec![removal(claim), claim.release()]).await
    }

    /// Makes a claimed event due again after `delay`, or declares it dead if that is `None`.
    pub(crate) async fn failed(&self, claim: &Claim, error: &str, delay: Option<Duration>) -> Result<bool> {
        let due = delay.map(|delay| time::after(time::now(), delay));
        let mut statements = vec![settlement(due, error, claim.seq, claim.attempts)];
        if due.is_none() {
            statements.push(claim.release());
        }
        self.settle(statements).await
    }

    async fn settle(&self, statements: Vec<Statement>) -> Result<bool> {
        let settled = self.change_claims(statements).await?.into_iter().next();
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

/// Returns the statement that puts events off, as [`Ledger::put_off`] does.
pub(crate) fn putting_off(engine: Engine, receiver: &str) -> Statement {
    let sql = match engine {
        Engine::Sqlite => put_off_sql!(""),
        #[cfg(feature = "postgres")]
        // Another server that settles the one before holds its lock: then the event is not put off. If it settles that
        // later, it waits for this transaction, and releases the event.
        Engine::Postgres => put_off_sql!("FOR NO KEY UPDATE OF e, o SKIP LOCKED"),
    };
    let now = time::now();
    statement!(sql, receiver, now, time::after(now, BEHIND))
}

fn removal(claim: &Claim) -> Statement {
    const SQL: &str = "DELETE FROM outbox WHERE seq = $1 AND attempts = $2 RETURNING seq";
    statement!(SQL, claim.seq, claim.attempts)
}

/// Makes the event due that waits behind the event `seq` of `key`, which is settled.
pub(crate) fn release(receiver: &str, key: &BlobKey, seq: i64) -> Statement {
    const SQL: &str = "UPDATE outbox SET due_at = $1 WHERE due_at > $1 AND claimed = 0 AND seq = ( \
            SELECT min(seq) FROM outbox WHERE receiver = $2 AND key = $3 AND due_at IS NOT NULL AND seq > $4)";
    statement!(SQL, time::now(), receiver, encode(key), seq)
}

/// Makes the events due that wait behind `event`, which is about to be removed from the queue of `receiver`, or from all.
pub(crate) fn release_behind(event: &str, receiver: Option<&str>) -> Statement {
    const SQL: &str = "UPDATE outbox SET due_at = $1 WHERE due_at > $1 AND claimed = 0 AND seq IN ( \
            SELECT (SELECT min(n.seq) FROM outbox n \
                WHERE n.receiver = e.receiver AND n.key = e.key AND n.due_at IS NOT NULL AND n.seq > e.seq) \
            FROM outbox e WHERE e.event = $2 AND e.receiver = COALESCE(CAST($3 AS TEXT), e.receiver))";
    statement!(SQL, time::now(), event, receiver)
}

/// Returns the statements that declare the claimed event `seq` dead, which cannot be read, and make the event due that waits
/// behind it.
fn burial(seq: i64, attempts: i64, error: &Error) -> [Statement; 2] {
    const RELEASE: &str = "UPDATE outbox SET due_at = $1 WHERE due_at > $1 AND claimed = 0 AND seq = ( \
            SELECT min(n.seq) FROM outbox e CROSS JOIN outbox n WHERE e.seq = $2 \
            AND n.receiver = e.receiver AND n.key = e.key AND n.due_at IS NOT NULL AND n.seq > e.seq)";
    let error = format!("the event cannot be read: {}", error.message());
    [
        settlement(None, &error, seq, attempts),
        statement!(RELEASE, time::now(), seq),
    ]
}

/// Returns the statement that makes a claimed event due again at `due`, or declares it dead.
fn settlement(due: Option<i64>, error: &str, seq: i64, attempts: i64) -> Statement {
    const SQL: &str = "UPDATE outbox SET due_at = $1, claimed = 0, error = $2 \
        WHERE seq = $3 AND attempts = $4 RETURNING seq";
    let error = error.chars().take(MAX_ERROR).collect::<String>();
    statement!(SQL, due, error, seq, attempts)
}

fn event(mut row: Row) -> Result<Event> {
    Ok(Event {
        id: row.text()?,
        kind: kind(&row.text()?)?,
        time: time::from_millis(row.integer()?),
        file: read(row)?,
    })
}

pub(crate) fn kind(name: &str) -> Result<EventKind> {
    name.parse().map_err(|error: Error| {
        Error::new(ErrorKind::Damaged, "an event of the ledger has an unknown kind").with_source(error)
    })
}
