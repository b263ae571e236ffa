//! [`Search`]: finds files by their call, their numbers or their account.

use std::{fmt::Write as _, time::SystemTime};

use kazoo_storage::{Result, kazoo_id::AttachmentKind};

use crate::{
    database::{Statement, Value},
    file::{FileRecord, kind_name},
    ledger::Ledger,
    rows::{columns, read},
    time,
};

/// The conditions of a [search](Ledger::search). A file must satisfy all of them.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Search {
    conditions: Vec<(&'static str, Value)>,
}

impl Search {
    /// A search without conditions, which finds every file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the files of the call with this id.
    pub fn call_id(self, id: impl Into<String>) -> Self {
        self.and("call_id = ?", id.into())
    }

    /// Finds the files whose caller or callee has this number.
    pub fn number(self, number: impl Into<String>) -> Self {
        self.and("(caller_number = ? OR callee_number = ?)", number.into())
    }

    /// Finds the files of this account.
    pub fn account(self, account: impl Into<String>) -> Self {
        self.and("account = ?", account.into())
    }

    /// Finds the files of this kind. `None` finds the others, such as greetings.
    pub fn kind(self, kind: impl Into<Option<AttachmentKind>>) -> Self {
        self.and("kind = ?", kind_name(kind.into()))
    }

    /// Finds the files that were stored at this time or later.
    pub fn since(self, time: SystemTime) -> Self {
        self.and("stored_at >= ?", time::to_millis(time))
    }

    fn and(mut self, condition: &'static str, value: impl Into<Value>) -> Self {
        self.conditions.push((condition, value.into()));
        self
    }

    /// Returns the statement for at most `limit` files.
    fn statement(self, limit: usize) -> Statement {
        let mut sql = concat!("SELECT ", columns!(), " FROM files").to_owned();
        let mut parameters = Vec::with_capacity(self.conditions.len() + 1);
        for (position, (condition, value)) in self.conditions.into_iter().enumerate() {
            sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            sql.push_str(&condition.replace('?', &format!("${}", position + 1)));
            parameters.push(value);
        }
        parameters.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let _ = write!(sql, " ORDER BY stored_at DESC, key DESC LIMIT ${}", parameters.len());
        Statement {
            sql: sql.into(),
            parameters,
        }
    }
}

impl Ledger {
    /// Returns at most `limit` files that satisfy `search`, newest first.
    ///
    /// Call id, number and account have an index. Other searches read all rows.
    pub async fn search(&self, search: Search, limit: usize) -> Result<Vec<FileRecord>> {
        let rows = self.read(search.statement(limit)).await?;
        rows.into_iter().map(read).collect()
    }
}
