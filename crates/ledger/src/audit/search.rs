//! [`AuditSearch`]: finds entries.

use std::{fmt::Write as _, time::SystemTime};

use kazoo_storage::{BlobKey, Result};

use super::rows::{Audited, audit_columns, read};
use crate::{
    database::{Statement, Value, statement},
    ledger::Ledger,
    rows::encode,
    time,
};

/// The conditions of a search in the audit trail. Without any, it finds every entry.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct AuditSearch {
    conditions: Vec<(&'static str, Vec<Value>)>,
}

impl AuditSearch {
    /// Finds every entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds only entries of this time or later.
    pub fn since(self, time: SystemTime) -> Self {
        self.and("at >= ?", vec![time::to_millis(time).into()])
    }

    /// Finds only entries before this time.
    pub fn until(self, time: SystemTime) -> Self {
        self.and("at < ?", vec![time::to_millis(time).into()])
    }

    /// Finds only entries with this name of the one who acted.
    pub fn name(self, name: &str) -> Self {
        self.and("name = ?", vec![name.into()])
    }

    /// Finds only entries about this action, by its name.
    pub fn action(self, action: &str) -> Self {
        self.and("action = ?", vec![action.into()])
    }

    /// Finds only entries about this file.
    pub fn key(self, key: &BlobKey) -> Self {
        self.and("key = ?", vec![encode(key).into()])
    }

    /// Finds only entries about this account, or about files whose key begins with it.
    pub fn account(self, account: &str) -> Self {
        let [from, to] = range(account);
        let values = vec![account.into(), from.into(), to.into()];
        self.and("(key = ? OR key >= ? AND key < ?)", values)
    }

    /// Continues a search after `entry`, the last one that it returned.
    pub fn after(self, entry: &Audited) -> Self {
        self.after_position(entry.at, entry.seq)
    }

    /// Continues a search after the entry with this time and number.
    pub fn after_position(self, at: SystemTime, seq: i64) -> Self {
        self.and("(at, seq) < (?, ?)", vec![time::to_millis(at).into(), seq.into()])
    }

    fn and(mut self, sql: &'static str, values: Vec<Value>) -> Self {
        self.conditions.push((sql, values));
        self
    }

    fn statement(self, limit: usize) -> Statement {
        let mut sql = concat!("SELECT ", audit_columns!(), " FROM audit").to_owned();
        let mut parameters = Vec::new();
        for (position, (condition, values)) in self.conditions.into_iter().enumerate() {
            sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            let mut values = values.into_iter();
            for (part, text) in condition.split('?').enumerate() {
                if part > 0 {
                    parameters.extend(values.next());
                    let _ = write!(sql, "${}", parameters.len());
                }
                sql.push_str(text);
            }
        }
        parameters.push(i64::try_from(limit).unwrap_or(i64::MAX).into());
        let _ = write!(sql, " ORDER BY at DESC, seq DESC LIMIT ${}", parameters.len());
        Statement {
            sql: sql.into(),
            parameters,
        }
    }
}

/// Returns the first text of keys that begin with the segment `account`, and the one behind the last: the separator 0x1f follows,
/// and 0x20 is the next character.
pub(super) fn range(account: &str) -> [String; 2] {
    [format!("{account}\u{1f}"), format!("{account}\u{20}")]
}

impl Ledger {
    /// Returns at most `limit` entries of the audit trail that satisfy `search`, newest first.
    ///
    /// Time, key and account have an index. A search by other conditions alone reads entries until it has enough. To go on, pass
    /// the last entry to [`AuditSearch::after`].
    pub async fn audit(&self, search: AuditSearch, limit: usize) -> Result<Vec<Audited>> {
        let rows = self.read(search.statement(limit)).await?;
        rows.into_iter().map(read).collect()
    }

    /// Returns the number of the last entry of the audit trail; 0 if there was none.
    pub async fn last_audit(&self) -> Result<i64> {
        const SQL: &str = "SELECT seq FROM audit_ends WHERE name = 'head'";
        let mut rows = self.read(statement!(SQL)).await?.into_iter();
        rows.next().map_or(Ok(0), |mut row| row.integer())
    }

    /// Returns at most `limit` entries behind the number `seq`, in their order.
    pub async fn audit_after(&self, seq: i64, limit: usize) -> Result<Vec<Audited>> {
        const SQL: &str = concat!(
            "SELECT ",
            audit_columns!(),
            " FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.read(statement!(SQL, seq, limit)).await?;
        rows.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::MIGRATIONS;

    #[test]
    fn searches_use_an_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let now = time::from_millis(time::now());
        let key = BlobKey::from_path("a/b/c").unwrap();
        for (search, indexes) in [
            (AuditSearch::new(), vec!["audit_by_time"]),
            (
                AuditSearch::new().since(now).until(now).name("x"),
                vec!["audit_by_time (at>? AND at<?)"],
            ),
            (AuditSearch::new().after_position(now, 7), vec!["audit_by_time"]),
            (AuditSearch::new().key(&key).since(now), vec!["audit_by_key (key=?)"]),
            (
                AuditSearch::new().account("a"),
                vec!["audit_by_key (key=?)", "audit_by_key (key>? AND key<?)"],
            ),
        ] {
            let Statement { sql, parameters } = search.statement(9);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
            let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
            let uses = |index: &&str| steps.iter().any(|step| step.contains(index));
            assert!(indexes.iter().all(uses), "{sql}: {steps:?}");
        }
    }
}
