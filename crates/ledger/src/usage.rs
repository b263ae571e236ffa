//! [`Usage`]: the space that the files of an account take.

use kazoo_storage::Result;

use crate::{
    database::{Row, Statement, statement},
    ledger::Ledger,
};

/// The number and the length of the files of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// The account, or `None` for the files whose keys have none.
    pub account: Option<String>,
    /// The number of files.
    pub files: u64,
    /// The length of their contents together, in bytes.
    pub bytes: u64,
}

impl Ledger {
    /// Returns the usage of each account that has files, or only that of `account`: those with the most bytes first.
    ///
    /// It reads an index with all files, or with those of `account`.
    pub async fn usage(&self, account: Option<&str>) -> Result<Vec<Usage>> {
        let rows = self.read(statement(account)).await?;
        rows.into_iter().map(read).collect()
    }
}

fn statement(account: Option<&str>) -> Statement {
    macro_rules! usage {
        ($condition:literal) => {
            concat!(
                "SELECT account, COUNT(*), CAST(SUM(size) AS BIGINT) AS bytes FROM files",
                $condition,
                " GROUP BY account ORDER BY bytes DESC, account"
            )
        };
    }
    match account {
        Some(account) => statement!(usage!(" WHERE account = $1"), account),
        None => statement!(usage!("")),
    }
}

fn read(mut row: Row) -> Result<Usage> {
    Ok(Usage {
        account: row.optional_text()?,
        files: u64::try_from(row.integer()?).unwrap_or_default(),
        bytes: u64::try_from(row.integer()?).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::MIGRATIONS;

    #[test]
    fn reads_the_index_only() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        for account in [None, Some("a")] {
            let Statement { sql, parameters } = statement(account);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
            let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
            assert!(steps[0].contains("COVERING INDEX files_by_account"), "{steps:?}");
        }
    }
}
