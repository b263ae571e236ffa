//! [`Ledger::replay`]: queues the events of stored files again.

use std::{
    fmt::Write as _,
    time::{Instant, SystemTime},
};

use kazoo_storage::{Error, ErrorKind, Result};

use super::{
    batches::{BATCH, yield_to_uploads},
    receivers::ReceiverState,
};
use crate::{
    database::{Engine, Statement, Value},
    ledger::Ledger,
    rows::columns,
    time,
};

/// Maximum length of the documents that one transaction copies, in bytes. A single one may be longer.
const MAX_METADATA: i64 = 4 << 20;

/// The options of [`Ledger::replay`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Replay {
    since: SystemTime,
    until: Option<SystemTime>,
    account: Option<String>,
    receiver: Option<String>,
}

impl Replay {
    /// Replays the files that were stored at `since` or later, to every active receiver.
    pub fn since(since: SystemTime) -> Self {
        Self {
            since,
            until: None,
            account: None,
            receiver: None,
        }
    }

    /// Only files that were stored before `until`; by default, before the call.
    pub fn until(mut self, until: SystemTime) -> Self {
        self.until = Some(until);
        self
    }

    /// Only files of this account.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Only to this receiver.
    pub fn receiver(mut self, name: impl Into<String>) -> Self {
        self.receiver = Some(name.into());
        self
    }
}

/// The progress and the result of [`Ledger::replay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// The number of files so far.
    pub files: u64,
    /// The number of events that were queued, one for each file and receiver.
    pub queued: u64,
    /// The files that were stored before this time are done: an interrupted replay is continued with it as `since`.
    pub position: SystemTime,
}

/// A position in the files, in the order of their times and keys.
struct Position {
    stored_at: i64,
    key: String,
}

/// A batch of files: those behind the position of the one before, up to and including `last`.
struct Batch {
    files: u64,
    last: Position,
}

impl Ledger {
    /// Queues an event `file.stored` for the files that the ledger has, for a receiver that has lost them or is new.
    ///
    /// The event has the id that the last event of the file had, so a receiver that drops repeats by their id drops the files
    /// that it has. Its time is now, and [`stored_at`](crate::FileRecord::stored_at) is that of the file. An event that still
    /// waits for the receiver is not queued again, and a dead one becomes due. It follows the events of the file that wait,
    /// and precedes later ones.
    ///
    /// Runs in batches that leave time for uploads, in bounded memory. Calls `progress` after each. Fails with
    /// [`ErrorKind::NotFound`] if there is no such receiver, and with [`ErrorKind::Conflict`] if it is not active.
    pub async fn replay(&self, replay: Replay, mut progress: impl FnMut(Replayed)) -> Result<Replayed> {
        if let Some(name) = &replay.receiver {
            self.check_active(name).await?;
        }
        let until = time::to_millis(replay.until.unwrap_or_else(SystemTime::now));
        let mut after = Position {
            // Before the first key.
            stored_at: time::to_millis(replay.since),
            key: String::new(),
        };
        let mut done = Replayed {
            files: 0,
            queued: 0,
            position: replay.since,
        };
        loop {
            let begun = Instant::now();
            let Some(batch) = self.next_batch(&replay, &after, until).await? else {
                done.position = time::from_millis(until).max(done.position);
                progress(done);
                return Ok(done);
            };
            let statements = self.queue(&replay, &after, &batch.last);
            // The first one locks rows, in PostgreSQL.
            let rows = self.change(statements).await?.into_iter().rev().take(2).flatten();
            done.queued += rows.count() as u64;
            done.files += batch.files;
            done.position = time::from_millis(batch.last.stored_at);
            after = batch.last;
            self.wake();
            progress(done);
            yield_to_uploads(begun).await;
        }
    }

    async fn check_active(&self, name: &str) -> Result<()> {
        let receiver = self.receiver(name).await?.ok_or_else(|| {
            let message = format!("there is no receiver `{name}`; list the receivers to see their names");
            Error::new(ErrorKind::NotFound, message)
        })?;
        if receiver.state != ReceiverState::Inactive {
            return Ok(());
        }
        let message = format!("the receiver `{name}` is not active, so nothing is sent to it; configure it first");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    /// Returns the batch behind `after`, if there are more files that were stored before `until`.
    async fn next_batch(&self, replay: &Replay, after: &Position, until: i64) -> Result<Option<Batch>> {
        let mut files = Files::new(replay, 1).after(after).before(until);
        let sql = format!(
            "SELECT f.stored_at, f.key, CAST(COALESCE(octet_length(f.metadata), 0) AS BIGINT) FROM files f WHERE {} \
             ORDER BY f.stored_at, f.key LIMIT {BATCH}",
            files.sql
        );
        let statement = Statement {
            sql: sql.into(),
            parameters: std::mem::take(&mut files.parameters),
        };
        let (mut batch, mut metadata) = (None, 0);
        for mut row in self.read(statement).await? {
            let last = Position {
                stored_at: row.integer()?,
                key: row.text()?,
            };
            metadata += row.integer()?;
            let files = batch.map_or(0, |batch: Batch| batch.files);
            batch = Some(Batch { files: files + 1, last });
            if metadata >= MAX_METADATA {
                break;
            }
        }
        Ok(batch)
    }

    /// Returns the statements that queue the files behind `after`, up to and including `last`. The last two return the events.
    fn queue(&self, replay: &Replay, after: &Position, last: &Position) -> Vec<Statement> {
        let mut statements = match self.engine() {
            Engine::Sqlite => Vec::new(),
            // An upload that replaces one of the files adds its event before these, or after them.
            #[cfg(feature = "postgres")]
            Engine::Postgres => {
                let files = Files::new(replay, 1).after(after).through(last);
                vec![files.statement(|files| {
                    format!("SELECT f.key FROM files f WHERE {files} ORDER BY f.stored_at, f.key FOR UPDATE")
                })]
            }
        };
        let now = time::now();
        let receivers = |parameters: usize| match &replay.receiver {
            Some(_) => format!("r.active = 1 AND r.name = ${parameters}"),
            None => "r.active = 1".to_owned(),
        };
        let parameters = 1 + usize::from(replay.receiver.is_some());
        let add = |sql: String, files: Files| {
            let mut all: Vec<Value> = vec![now.into()];
            all.extend(replay.receiver.as_deref().map(Value::from));
            all.extend(files.parameters);
            Statement {
                sql: sql.into(),
                parameters: all,
            }
        };
        let files = Files::new(replay, parameters + 1).after(after).through(last);
        // The dead event is the last one of the file, so no later one was sent.
        let revive = format!(
            "UPDATE outbox AS o SET due_at = $1 FROM receivers r, files f WHERE {} AND {} AND o.receiver = r.name \
             AND o.event = f.event AND o.key = f.key AND o.due_at IS NULL RETURNING seq",
            receivers(2),
            files.sql
        );
        statements.push(add(revive, files.clone()));
        let insert = format!(
            concat!(
                "INSERT INTO outbox (receiver, event, event_kind, recorded_at, due_at, ",
                columns!(),
                ") SELECT r.name, f.event, 'file.stored', CAST($1 AS BIGINT), CAST($1 AS BIGINT), {} \
                FROM receivers r, files f WHERE {} AND {} AND NOT EXISTS ( \
                    SELECT 1 FROM outbox o WHERE o.receiver = r.name AND o.key = f.key AND o.event = f.event) \
                ORDER BY f.stored_at, f.key RETURNING seq"
            ),
            columns!(),
            receivers(2),
            files.sql
        );
        statements.push(add(insert, files));
        statements
    }
}

/// The condition for files `f`, and its parameters.
#[derive(Clone)]
struct Files {
    sql: String,
    parameters: Vec<Value>,
    first: usize,
}

impl Files {
    /// The files of the account, with parameters that are numbered from `first` on.
    fn new(replay: &Replay, first: usize) -> Self {
        let files = Self {
            sql: "1 = 1".to_owned(),
            parameters: Vec::new(),
            first,
        };
        match &replay.account {
            Some(account) => files.and("f.account = ?", [account.as_str().into()]),
            None => files,
        }
    }

    fn after(self, position: &Position) -> Self {
        // The first condition finds the index, the second one the position in it.
        self.and("f.stored_at >= ?", [position.stored_at.into()])
            .and("(f.stored_at, f.key) > (?, ?)", position.values())
    }

    fn through(self, position: &Position) -> Self {
        self.and("f.stored_at <= ?", [position.stored_at.into()])
            .and("(f.stored_at, f.key) <= (?, ?)", position.values())
    }

    fn before(self, until: i64) -> Self {
        self.and("f.stored_at < ?", [until.into()])
    }

    /// Adds a condition with a `?` for each of `values`.
    fn and<const N: usize>(mut self, condition: &str, values: [Value; N]) -> Self {
        let mut parts = condition.split('?');
        self.sql.push_str(" AND ");
        self.sql.push_str(parts.next().unwrap_or_default());
        for (part, value) in parts.zip(values) {
            let _ = write!(self.sql, "${}{part}", self.first + self.parameters.len());
            self.parameters.push(value);
        }
        self
    }

    #[cfg(feature = "postgres")]
    fn statement(self, sql: impl FnOnce(&str) -> String) -> Statement {
        Statement {
            sql: sql(&self.sql).into(),
            parameters: self.parameters,
        }
    }
}

impl Position {
    fn values(&self) -> [Value; 2] {
        [self.stored_at.into(), self.key.as_str().into()]
    }
}
