//! [`Search`]: finds files by their call, their numbers, their account or their time.

use std::{fmt::Write as _, time::SystemTime};

use kazoo_storage::{BlobKey, Result, kazoo_id::AttachmentKind};

use crate::{
    database::{Engine, Statement, Value},
    file::{FileRecord, kind_name},
    ledger::Ledger,
    rows::{columns, encode, read, short_columns},
    time,
};

/// The conditions of a [search](Ledger::search). A file must satisfy all of them.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Search {
    conditions: Vec<Condition>,
    without_metadata: bool,
}

/// A part of `WHERE`, with `?1`, `?2` for its values and `@` before each column that has an index.
#[derive(Clone, Debug)]
struct Condition {
    sql: &'static str,
    values: Vec<Value>,
}

const UNTIL: &str = "@stored_at < ?1";
const AFTER: &str = "(@stored_at, @key) < (?1, ?2)";

/// The conditions that few files satisfy.
const CALL_ID: &str = "call_id = ?1";
const NUMBER: &str = "(caller_number = ?1 OR callee_number = ?1)";

impl Search {
    /// A search without conditions, which finds every file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the files of the call with this id.
    pub fn call_id(self, id: impl Into<String>) -> Self {
        self.and(CALL_ID, vec![id.into().into()])
    }

    /// Finds the files whose caller or callee has this number.
    pub fn number(self, number: impl Into<String>) -> Self {
        self.and(NUMBER, vec![number.into().into()])
    }

    /// Finds the files of this account.
    pub fn account(self, account: impl Into<String>) -> Self {
        self.and("@account = ?1", vec![account.into().into()])
    }

    /// Finds the files that are attached to this document.
    pub fn document(self, document: impl Into<String>) -> Self {
        self.and("document = ?1", vec![document.into().into()])
    }

    /// Finds the files of this kind. `None` finds the others, such as greetings.
    pub fn kind(self, kind: impl Into<Option<AttachmentKind>>) -> Self {
        self.and("kind = ?1", vec![kind_name(kind.into()).into()])
    }

    /// Finds the files that were stored at this time or later.
    pub fn since(self, time: SystemTime) -> Self {
        self.and("@stored_at >= ?1", vec![time::to_millis(time).into()])
    }

    /// Finds the files that were stored before this time.
    pub fn until(self, time: SystemTime) -> Self {
        self.and(UNTIL, vec![time::to_millis(time).into()])
    }

    /// Continues a search after the file `key`, the last one that it returned, which was stored at `stored_at`.
    pub fn after(self, stored_at: SystemTime, key: &BlobKey) -> Self {
        let values = vec![time::to_millis(stored_at).into(), encode(key).into()];
        self.and(AFTER, values)
    }

    /// Leaves [`FileRecord::metadata`] out, so that the memory of the result does not depend on the uploads.
    pub fn without_metadata(mut self) -> Self {
        self.without_metadata = true;
        self
    }

    fn and(mut self, sql: &'static str, values: Vec<Value>) -> Self {
        self.conditions.push(Condition { sql, values });
        self
    }

    /// Returns the statement for at most `limit` files.
    fn statement(mut self, limit: usize, engine: Engine) -> Statement {
        let has = |sql: &str| self.conditions.iter().any(|condition| condition.sql == sql);
        let (is_of_a_call, is_continued) = (has(CALL_ID) || has(NUMBER), has(AFTER));
        if !is_of_a_call && !self.conditions.iter().any(|condition| condition.sql.contains('@')) {
            // Otherwise SQLite would sort all files.
            self = self.since(SystemTime::UNIX_EPOCH);
        }
        // SQLite uses no index for a column with a sign. Otherwise it would read all files of an account to save the sorting
        // of those of a call, and each page would begin at the upper limit of the time. PostgreSQL decides by statistics.
        let is_sqlite = matches!(engine, Engine::Sqlite);
        let sign = |sql: &str| {
            if is_sqlite && (is_of_a_call || is_continued && sql == UNTIL) {
                "+"
            } else {
                ""
            }
        };
        let columns = if self.without_metadata {
            short_columns!()
        } else {
            columns!()
        };
        let mut sql = format!("SELECT {columns} FROM files");
        let mut parameters = Vec::with_capacity(self.conditions.len() + 2);
        for (position, condition) in self.conditions.into_iter().enumerate() {
            sql.push_str(if position == 0 { " WHERE " } else { " AND " });
            let mut text = condition.sql.replace('@', sign(condition.sql));
            for (number, value) in condition.values.into_iter().enumerate() {
                parameters.push(value);
                text = text.replace(&format!("?{}", number + 1), &format!("${}", parameters.len()));
            }
            sql.push_str(&text);
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
    /// Call id, number, account and time have an index. A search by other conditions alone reads files, newest first, until it has
    /// enough. To go on, pass the last file to [`Search::after`].
    pub async fn search(&self, search: Search, limit: usize) -> Result<Vec<FileRecord>> {
        let rows = self.read(search.statement(limit, self.engine())).await?;
        rows.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::MIGRATIONS;

    /// A search whose cost grows with the number of files scans a table, which the plan of the query shows.
    #[test]
    fn each_search_uses_its_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let plan = |search: Search| -> Vec<String> {
            let Statement { sql, parameters } = search.statement(9, Engine::Sqlite);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
            let rows = rows.unwrap();
            rows.map(Result::unwrap).collect()
        };
        let (call, numbers, account, time) = (
            &["files_by_call_id (call_id=?)"][..],
            &[
                "files_by_caller_number (caller_number=?)",
                "files_by_callee_number (callee_number=?)",
            ][..],
            &["files_by_account (account=?"][..],
            &["files_by_time"][..],
        );
        let now = time::from_millis(time::now());
        let key = BlobKey::from_path("a/b/c").unwrap();
        let search = Search::new;
        for (search, indexes) in [
            (search().call_id("c"), call),
            (search().call_id("c").account("a").since(now).until(now), call),
            (search().number("1"), numbers),
            (search().number("1").account("a"), numbers),
            (search().since(now).number("1").kind(AttachmentKind::Fax), numbers),
            (search().account("a"), account),
            (search().account("a").kind(AttachmentKind::Fax).document("d"), account),
            (
                search().account("a").since(now),
                &["files_by_account (account=? AND stored_at>?"],
            ),
            (
                search().account("a").until(now),
                &["files_by_account (account=? AND stored_at<?)"],
            ),
            (
                search().since(now).until(now),
                &["files_by_time (stored_at>? AND stored_at<?)"],
            ),
            (search(), time),
            (search().kind(None), time),
        ] {
            for search in [search.clone(), search.after(now, &key)] {
                let steps = plan(search.clone());
                for index in indexes {
                    assert!(steps.iter().any(|step| step.contains(index)), "{search:?}: {steps:?}");
                }
                assert!(
                    !steps.iter().any(|step| step.starts_with("SCAN")),
                    "{search:?}: {steps:?}"
                );
                let is_sorted = indexes == call || indexes == numbers;
                let sorts = steps.iter().any(|step| step == "USE TEMP B-TREE FOR ORDER BY");
                assert_eq!(sorts, is_sorted, "{search:?}: {steps:?}");
            }
        }
    }

    /// A page that begins with all the files before it makes a listing quadratic.
    #[test]
    fn a_page_does_not_read_those_before_it() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let fill = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000) \
                    INSERT INTO files SELECT 'k' || i, 'a', NULL, 'd', 'x', 'fax', 1, NULL, NULL, i, NULL, NULL, NULL, NULL, \
                    'e', 1 FROM n";
        connection.execute_batch(fill).unwrap();
        let steps = |search: Search| {
            let Statement { sql, parameters } = search.statement(9, Engine::Sqlite);
            let mut statement = connection.prepare(&sql).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |_| Ok(()));
            assert_eq!(rows.unwrap().count(), 9);
            statement.get_status(rusqlite::StatementStatus::VmStep)
        };
        let key = BlobKey::from_path("k50").unwrap();
        for search in [
            Search::new(),
            Search::new().account("a"),
            Search::new()
                .since(time::from_millis(10))
                .until(time::from_millis(4000)),
            Search::new().account("a").until(time::from_millis(4000)),
        ] {
            let (first, later) = (
                steps(search.clone()),
                steps(search.clone().after(time::from_millis(50), &key)),
            );
            assert!(later < 2 * first, "{search:?}: {first} steps, then {later}");
        }
    }
}
