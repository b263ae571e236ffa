//! [`Backlog`]: finds undelivered events.

use std::time::SystemTime;

use kazoo_storage::{Metadata, Result};

use super::conditions::Conditions;
use crate::{
    database::{Row, Statement, statement},
    event::Event,
    ledger::Ledger,
    outbox::kind,
    rows::read,
    time,
};

/// Tolerated steps of the clock, in milliseconds: an event may have a lower number than one that was recorded this long
/// before it.
const CLOCK_STEP: i64 = 3_600_000;

/// The columns of an event without its document, which may be long.
macro_rules! undelivered_columns {
    () => {
        "seq, receiver, attempts, due_at, claimed, error, event, event_kind, recorded_at, key, kind, size, sha256, \
         content_type, stored_at, CAST(NULL AS TEXT), call_id, caller_number, callee_number"
    };
}

/// The state of an event that a receiver does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventState {
    /// The event is sent when it is due.
    Waiting,
    /// The event was given up, and is kept for the operator.
    Dead,
}

impl EventState {
    /// Returns the name of the state: `waiting` or `dead`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Dead => "dead",
        }
    }
}

/// An event that a receiver has not acknowledged.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Undelivered {
    /// The position in the outbox: later events have a higher number.
    pub seq: i64,
    /// The name of the receiver, as in [`ReceiverStatus::name`](super::ReceiverStatus::name).
    pub receiver: String,
    /// The number of times that it was sent to the receiver.
    pub attempts: u64,
    /// The time of the next attempt, or the end of the present one. `None` if the event is dead.
    pub due_at: Option<SystemTime>,
    /// `true` during an attempt, which ends at `due_at` at the latest.
    pub is_in_flight: bool,
    /// The error of the last attempt that failed.
    pub error: Option<String>,
    /// The event. The [`metadata`](crate::FileRecord::metadata) of its file is always `None`, because a listing does not read the
    /// documents: [`Ledger::event_metadata`] returns that of one event.
    pub event: Event,
}

impl Undelivered {
    /// Returns the state of the event.
    #[must_use]
    pub fn state(&self) -> EventState {
        match self.due_at {
            Some(_) => EventState::Waiting,
            None => EventState::Dead,
        }
    }
}

/// The conditions of [`Ledger::backlog`]. An event must satisfy all of them.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Backlog {
    receiver: Option<String>,
    state: Option<EventState>,
    account: Option<String>,
    since: Option<SystemTime>,
    oldest_first: bool,
    after: Option<i64>,
}

impl Backlog {
    /// Every undelivered event, newest first.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the events of this receiver.
    pub fn receiver(mut self, name: impl Into<String>) -> Self {
        self.receiver = Some(name.into());
        self
    }

    /// Finds the events in this state.
    pub fn state(mut self, state: EventState) -> Self {
        self.state = Some(state);
        self
    }

    /// Finds the events of the files of this account, the first segment of their keys.
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.account = Some(account.into());
        self
    }

    /// Finds the events that were recorded at this time or later.
    pub fn since(mut self, time: SystemTime) -> Self {
        self.since = Some(time);
        self
    }

    /// Returns the oldest events first.
    pub fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// Continues after the event with this [`seq`](Undelivered::seq), the last one of the page before.
    pub fn after(mut self, seq: i64) -> Self {
        self.after = Some(seq);
        self
    }

    /// Returns searches that together find the same events, each in one index: that of the keys has only waiting events.
    fn parts(&self) -> Vec<Self> {
        if self.account.is_none() || self.state.is_some() {
            return vec![self.clone()];
        }
        let states = [EventState::Waiting, EventState::Dead];
        states.map(|state| self.clone().state(state)).to_vec()
    }

    /// Returns the statement for at most `limit` events of `receiver`, from the number `first` on.
    fn statement(&self, receiver: &str, first: Option<i64>, limit: i64) -> Statement {
        let mut conditions = Conditions::of(receiver);
        // The rows of an account are found by their keys, and then sorted: the sum keeps the database from reading the rows of
        // all accounts in the order of their numbers instead.
        let by_key = self.account.is_some() && self.state != Some(EventState::Dead);
        let seq = if by_key { "seq + 0" } else { "seq" };
        if let Some(account) = &self.account {
            conditions = conditions.below(account);
        }
        match self.state {
            Some(EventState::Waiting) => conditions = conditions.waiting(),
            Some(EventState::Dead) => conditions = conditions.dead(),
            None => {}
        }
        if let Some(first) = first {
            conditions = conditions.and(seq, ">=", first);
        }
        if let Some(since) = self.since {
            conditions = conditions.and("recorded_at", ">=", time::to_millis(since));
        }
        let (order, behind) = if self.oldest_first { ("", ">") } else { (" DESC", "<") };
        if let Some(after) = self.after {
            conditions = conditions.and(seq, behind, after);
        }
        let sql = conditions.sql("", 1);
        let mut parameters = conditions.into_parameters();
        parameters.push(limit.into());
        let sql = format!(
            concat!(
                "SELECT ",
                undelivered_columns!(),
                " FROM outbox WHERE {} ORDER BY {}{} LIMIT ${}"
            ),
            sql,
            seq,
            order,
            parameters.len()
        );
        Statement {
            sql: sql.into(),
            parameters,
        }
    }
}

impl Ledger {
    /// Returns at most `limit` undelivered events that satisfy `backlog`. An event of several receivers is returned for each.
    ///
    /// For the next page, pass the [`seq`](Undelivered::seq) of the last event to [`Backlog::after`]. An index
    /// finds each page. Two conditions read events that they do not return: `Waiting` the dead events of the receiver, and
    /// `account` all waiting events of the account and all dead events of the receiver.
    pub async fn backlog(&self, backlog: Backlog, limit: usize) -> Result<Vec<Undelivered>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let receivers = match &backlog.receiver {
            Some(name) => vec![name.clone()],
            None => self.receiver_names().await?,
        };
        let first = match backlog.since {
            Some(since) => Some(self.first_since(time::to_millis(since)).await?),
            None => None,
        };
        let parts = backlog.parts();
        let pages = receivers
            .iter()
            .flat_map(|name| parts.iter().map(move |part| part.statement(name, first, limit)));
        let pages = self.read_all(pages.collect()).await?;
        let mut found: Vec<Undelivered> = pages.into_iter().flatten().filter_map(readable).collect();
        found.sort_by_key(|event| if backlog.oldest_first { event.seq } else { -event.seq });
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    /// Returns the undelivered events with this [id](Event::id), one for each receiver that does not have it yet.
    pub async fn event(&self, id: &str) -> Result<Vec<Undelivered>> {
        const SQL: &str = concat!(
            "SELECT ",
            undelivered_columns!(),
            " FROM outbox WHERE event = $1 ORDER BY receiver, seq"
        );
        let rows = self.read(statement!(SQL, id)).await?;
        Ok(rows.into_iter().filter_map(readable).collect())
    }

    /// Returns the document of the file at the time of the undelivered event with this id, if it had one.
    pub async fn event_metadata(&self, id: &str) -> Result<Option<Metadata>> {
        const SQL: &str = "SELECT metadata FROM outbox WHERE event = $1 ORDER BY seq LIMIT 1";
        let mut rows = self.read(statement!(SQL, id)).await?.into_iter();
        let text = rows.next().map(|mut row| row.optional_text()).transpose()?;
        text.flatten().map(Metadata::from_json).transpose()
    }

    pub(super) async fn receiver_names(&self) -> Result<Vec<String>> {
        const SQL: &str = "SELECT name FROM receivers ORDER BY name";
        let rows = self.read(statement!(SQL)).await?;
        rows.into_iter().map(|mut row| row.text()).collect()
    }

    /// Returns a lower bound of the numbers of the events that were recorded at `since` or later. The numbers are in the order
    /// of the times, so it is found by bisection.
    async fn first_since(&self, since: i64) -> Result<i64> {
        const ENDS: &str =
            "SELECT COALESCE((SELECT min(seq) FROM outbox), 0), COALESCE((SELECT max(seq) FROM outbox), 0)";
        const NEXT: &str = "SELECT seq, recorded_at FROM outbox WHERE seq >= $1 ORDER BY seq LIMIT 1";
        let since = since.saturating_sub(CLOCK_STEP);
        let mut ends = self.read(statement!(ENDS)).await?.into_iter();
        let Some(mut ends) = ends.next() else { return Ok(0) };
        let (mut low, mut high) = (ends.integer()?, ends.integer()?.saturating_add(1));
        while low < high {
            let middle = low + (high - low) / 2;
            let next = self.read(statement!(NEXT, middle)).await?.into_iter().next();
            let next = next.map(|mut row| Ok::<_, kazoo_storage::Error>((row.integer()?, row.integer()?)));
            match next.transpose()? {
                Some((seq, recorded_at)) if recorded_at < since => low = seq + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// Returns the event, or logs why it cannot be read: one damaged row must not hide the others.
fn readable(row: Row) -> Option<Undelivered> {
    undelivered(row)
        .inspect_err(|error| tracing::error!(%error, "an event of the ledger cannot be read, and is left out"))
        .ok()
}

fn undelivered(mut row: Row) -> Result<Undelivered> {
    let (seq, receiver) = (row.integer()?, row.text()?);
    let attempts = u64::try_from(row.integer()?).unwrap_or_default();
    let due_at = row.optional_integer()?.map(time::from_millis);
    let is_in_flight = row.integer()? == 1 && due_at.is_some_and(|due| due > SystemTime::now());
    Ok(Undelivered {
        seq,
        receiver,
        attempts,
        due_at,
        is_in_flight,
        error: row.optional_text()?,
        event: Event {
            id: row.text()?,
            kind: kind(&row.text()?)?,
            time: time::from_millis(row.integer()?),
            file: read(row)?,
        },
    })
}
