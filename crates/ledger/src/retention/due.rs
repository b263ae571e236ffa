//! [`Due`]: the files that the rules delete.

use std::{fmt::Write as _, sync::Arc, time::SystemTime};

use kazoo_storage::{BlobKey, Result};

use crate::{
    database::{Row, Statement, Value},
    file::FileRecord,
    holds::keeps,
    ledger::Ledger,
    policy::{Policy, Rule},
    rows::{encode, read, short_columns},
    time,
};

/// Number of rows that are read at once.
const PAGE: i64 = 512;

/// A place in the files that are due, after which [`Ledger::files_due`] continues.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Position {
    /// The position of the rule in the policy.
    pub rule: usize,
    /// The time at which the last file was stored.
    pub stored_at: SystemTime,
    /// The key of the last file.
    pub key: BlobKey,
}

/// A file that a rule deletes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DueFile {
    /// The file, without its metadata.
    pub file: FileRecord,
    /// The position of the rule in the policy.
    pub rule: usize,
    /// The id of the oldest hold that keeps the file, if it is held.
    pub hold: Option<String>,
}

/// The files that the rules delete: by rule, and the oldest of each first.
#[derive(Debug)]
pub struct Due {
    ledger: Ledger,
    policy: Arc<Policy>,
    now: SystemTime,
    rule: usize,
    /// The last row that was read of those of the rule.
    after: Option<(SystemTime, BlobKey)>,
}

impl Position {
    /// Creates the position of the file `key`, which was stored at `stored_at` and is deleted by the rule at the position `rule`.
    #[must_use]
    pub fn new(rule: usize, stored_at: SystemTime, key: BlobKey) -> Self {
        Self { rule, stored_at, key }
    }
}

impl Due {
    /// Returns the policy whose rules apply.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the next files, at most 512, or none at the end.
    pub async fn next(&mut self) -> Result<Vec<DueFile>> {
        while let Some(rule) = self.policy.rules().get(self.rule) {
            let rows = match until(rule, self.now) {
                Some(until) => {
                    let after = self.after.as_ref().map(|(stored_at, key)| (*stored_at, key));
                    self.ledger.read(statement(rule, until, after)).await?
                }
                None => Vec::new(),
            };
            let position = self.rule;
            let due = |mut row: Row| {
                Ok(DueFile {
                    hold: row.optional_text()?,
                    file: read(row)?,
                    rule: position,
                })
            };
            let files: Vec<_> = rows.into_iter().map(due).collect::<Result<_>>()?;
            let last = files.last().map(|due| (due.file.stored_at, due.file.key.clone()));
            if last.is_none() {
                self.rule += 1;
            }
            self.after = last;
            // Another rule may be more specific.
            let applies = |due: &DueFile| self.policy.rule_of(&due.file).is_some_and(|(at, _)| at == position);
            let due: Vec<_> = files.into_iter().filter(applies).collect();
            if !due.is_empty() {
                return Ok(due);
            }
        }
        Ok(Vec::new())
    }
}

impl Ledger {
    /// Returns the files that the rules of the policy delete now, from the beginning or after a position.
    ///
    /// Each page is read from an index of the account or of the time. It has the files whose time has come by [`Ledger::now`].
    #[must_use]
    pub fn files_due(&self, after: Option<Position>) -> Due {
        self.files_due_with(self.policy(), after)
    }

    /// Returns the files that the rules of `policy` would delete now if it were set, as [`files_due`](Self::files_due) does.
    #[must_use]
    pub fn files_due_with(&self, policy: impl Into<Arc<Policy>>, after: Option<Position>) -> Due {
        let (rule, after) = match after {
            Some(Position { rule, stored_at, key }) => (rule, Some((stored_at, key))),
            None => (0, None),
        };
        Due {
            ledger: self.clone(),
            policy: policy.into(),
            now: self.now(),
            rule,
            after,
        }
    }
}

/// Returns the last time of a file that `rule` deletes `now`.
fn until(rule: &Rule, now: SystemTime) -> Option<SystemTime> {
    now.checked_sub(rule.age()?)
}

/// Returns the statement for the files with the conditions of `rule` that were stored at `until` or earlier, the oldest first.
fn statement(rule: &Rule, until: SystemTime, after: Option<(SystemTime, &BlobKey)>) -> Statement {
    const SELECT: &str = concat!(
        "SELECT (SELECT h.id FROM holds h WHERE ",
        keeps!(),
        " ORDER BY h.created_at, h.id LIMIT 1), ",
        short_columns!(),
        " FROM files f WHERE "
    );
    let mut sql = SELECT.to_owned();
    let mut parameters = Vec::new();
    let mut and = |condition: &str, values: Vec<Value>| {
        for value in values {
            parameters.push(value);
        }
        sql.push_str(condition);
    };
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    if let Some(account) = rule.account_id() {
        and(&format!("account = ${} AND ", next()), vec![account.into()]);
    }
    if let Some(kind) = rule.kind_name() {
        and(&format!("kind = ${} AND ", next()), vec![kind.into()]);
    }
    and(
        &format!("stored_at <= ${}", next()),
        vec![time::to_millis(until).into()],
    );
    if let Some((stored_at, key)) = after {
        let values = vec![time::to_millis(stored_at).into(), encode(key).into()];
        and(&format!(" AND (stored_at, key) > (${}, ${})", next(), next()), values);
    }
    let _ = write!(sql, " ORDER BY stored_at, key LIMIT {PAGE}");
    Statement {
        sql: sql.into(),
        parameters,
    }
}

#[cfg(test)]
mod tests {
    use kazoo_storage::kazoo_id::AttachmentKind;

    use super::*;
    use crate::database::MIGRATIONS;

    #[test]
    fn each_page_uses_an_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let (now, key) = (SystemTime::now(), BlobKey::from_path("a/b/c").unwrap());
        let rule = || Rule::new().days(1);
        let (account, time) = ("files_by_account (account=? AND stored_at", "files_by_time (stored_at");
        for (rule, index) in [
            (rule(), time),
            (rule().kind(AttachmentKind::Fax), time),
            (rule().account("a"), account),
            (rule().account("a").kind(None), account),
        ] {
            for (after, range) in [(None, "<?)"), (Some((now, &key)), ">? AND stored_at<?)")] {
                let Statement { sql, parameters } = statement(&rule, now, after);
                let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
                let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
                let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
                let uses_index = |step: &String| step.contains(index) && step.ends_with(range);
                assert!(steps.iter().any(uses_index), "{sql}: {steps:?}");
            }
        }
    }
}
