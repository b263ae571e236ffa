//! [`DeletionRequest`]: a document that KAZOO has deleted.

use std::time::SystemTime;

use kazoo_storage::Result;

use crate::{
    database::{Row, Statement, statement},
    file::FileRecord,
    ledger::Ledger,
    rows::{read, short_columns},
    time,
};

/// Maximum number of files of a document that are read at once.
macro_rules! max_files {
    () => {
        64
    };
}

pub(super) const FILES: usize = max_files!();

/// A document that KAZOO has deleted. Its files are removed when their time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletionRequest {
    /// The id of the account.
    pub account: String,
    /// The id of the document.
    pub document: String,
    /// The type of the document, such as `mailbox_message`.
    pub kind: String,
    /// The time of the request.
    pub requested_at: SystemTime,
    /// The time at which the files are removed.
    pub due_at: SystemTime,
}

impl DeletionRequest {
    /// Creates the position after a request, for [`Ledger::deletion_requests`].
    #[must_use]
    pub fn after(due_at: SystemTime, account: &str, document: &str) -> Self {
        Self {
            account: account.to_owned(),
            document: document.to_owned(),
            kind: String::new(),
            requested_at: due_at,
            due_at,
        }
    }
}

impl Ledger {
    /// Records that KAZOO has deleted a document of this type. The files of the document are removed after the
    /// [grace period](crate::policy::Policy::grace). Returns `false` if there is a request already, which stays as it is.
    ///
    /// The request is durable when this returns.
    pub async fn request_deletion(&self, account: &str, document: &str, kind: &str) -> Result<bool> {
        const SQL: &str = "INSERT INTO deletion_requests (account, document, kind, requested_at, due_at) \
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (account, document) DO NOTHING RETURNING due_at";
        let now = time::to_millis(self.stored_now());
        let due = time::after(now, self.policy().grace_period());
        let rows = self
            .change(vec![statement!(SQL, account, document, kind, now, due)])
            .await?;
        Ok(rows.into_iter().flatten().count() > 0)
    }

    /// Returns at most `limit` requests for deletion, those that are due first, after the request `after`.
    pub async fn deletion_requests(
        &self,
        after: Option<&DeletionRequest>,
        limit: usize,
    ) -> Result<Vec<DeletionRequest>> {
        self.requests_until(i64::MAX, after, limit).await
    }

    /// Returns those of the requests that are due at `until`.
    pub(super) async fn requests_until(
        &self,
        until: i64,
        after: Option<&DeletionRequest>,
        limit: usize,
    ) -> Result<Vec<DeletionRequest>> {
        let rows = self.read(page(until, after, limit)).await?;
        rows.into_iter().map(request).collect()
    }

    /// Cancels a request for deletion. Returns `false` if there is none.
    pub async fn cancel_deletion(&self, account: &str, document: &str) -> Result<bool> {
        const SQL: &str = "DELETE FROM deletion_requests WHERE account = $1 AND document = $2 RETURNING due_at";
        let rows = self.change(vec![statement!(SQL, account, document)]).await?;
        Ok(rows.into_iter().flatten().count() > 0)
    }

    /// Returns `false` if `request` was cancelled.
    pub(super) async fn is_requested(&self, request: &DeletionRequest) -> Result<bool> {
        const SQL: &str = "SELECT due_at FROM deletion_requests WHERE account = $1 AND document = $2 AND due_at <= $3";
        let due = time::to_millis(request.due_at);
        let found = self
            .read(statement!(SQL, &*request.account, &*request.document, due))
            .await?;
        Ok(!found.is_empty())
    }

    pub(super) async fn count_due_documents(&self, now: SystemTime) -> Result<u64> {
        const SQL: &str = "SELECT COUNT(*) FROM deletion_requests WHERE due_at <= $1";
        let mut rows = self.read(statement!(SQL, time::to_millis(now))).await?.into_iter();
        let count = rows.next().map(|mut row| row.integer()).transpose()?;
        Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
    }

    /// Returns at most [`FILES`] files of each document, without their metadata.
    pub(super) async fn files_of(&self, requests: &[DeletionRequest]) -> Result<Vec<Vec<FileRecord>>> {
        let statements = requests
            .iter()
            .map(|request| files_of(&request.account, &request.document))
            .collect();
        let rows = self.read_all(statements).await?;
        rows.into_iter()
            .map(|rows| rows.into_iter().map(read).collect())
            .collect()
    }
}

fn page(until: i64, after: Option<&DeletionRequest>, limit: usize) -> Statement {
    const FIRST: &str = "SELECT account, document, kind, requested_at, due_at FROM deletion_requests \
        WHERE due_at <= $1 ORDER BY due_at, account, document LIMIT $2";
    const NEXT: &str = "SELECT account, document, kind, requested_at, due_at FROM deletion_requests \
        WHERE due_at <= $1 AND (due_at, account, document) > ($2, $3, $4) ORDER BY due_at, account, document LIMIT $5";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    match after {
        None => statement!(FIRST, until, limit),
        Some(after) => statement!(
            NEXT,
            until,
            time::to_millis(after.due_at),
            &*after.account,
            &*after.document,
            limit
        ),
    }
}

/// Returns the statement for the files of a document: those whose keys begin with the account and the document, and those
/// that have an owner between both.
fn files_of(account: &str, document: &str) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        short_columns!(),
        " FROM files WHERE key > $1 AND key < $2 AND document = $3 AND owner IS NULL UNION ALL SELECT ",
        short_columns!(),
        " FROM files WHERE account = $4 AND document = $3 AND owner IS NOT NULL LIMIT ",
        max_files!()
    );
    // The separator of segments, and the character after it.
    let [from, to] = ["\u{1f}", "\u{20}"].map(|end| format!("{account}\u{1f}{document}{end}"));
    statement!(SQL, from, to, document, account)
}

fn request(mut row: Row) -> Result<DeletionRequest> {
    Ok(DeletionRequest {
        account: row.text()?,
        document: row.text()?,
        kind: row.text()?,
        requested_at: time::from_millis(row.integer()?),
        due_at: time::from_millis(row.integer()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::MIGRATIONS;

    #[test]
    fn each_statement_uses_an_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let after = DeletionRequest {
            account: "a".to_owned(),
            document: "d".to_owned(),
            kind: "fax".to_owned(),
            requested_at: SystemTime::now(),
            due_at: SystemTime::now(),
        };
        for (statement, indexes) in [
            (
                files_of("a", "d"),
                &[
                    "sqlite_autoindex_files_1 (key>? AND key<?)",
                    "files_by_document (account=? AND document=?)",
                ][..],
            ),
            (page(1, None, 9), &["deletion_requests_by_due (due_at<?)"]),
            (page(1, Some(&after), 9), &["deletion_requests_by_due ("]),
        ] {
            let Statement { sql, parameters } = statement;
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
            let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
            for index in indexes {
                assert!(steps.iter().any(|step| step.contains(index)), "{sql}: {steps:?}");
            }
            let is_cheap = |step: &String| !step.starts_with("SCAN") && !step.contains("B-TREE");
            assert!(steps.iter().all(is_cheap), "{sql}: {steps:?}");
        }
    }
}
