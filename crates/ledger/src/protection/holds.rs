//! Adds, shows and removes holds.

use std::{sync::Arc, time::Duration};

use kazoo_storage::{BlobKey, Result};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    database::{Row, Statement, statement},
    holds::{AddedHold, Committing, HOLDS, Hold, LEASE, NewHold, Rules, columns, keeps},
    ledger::Ledger,
    rows::{SEPARATOR, decode, encode},
    time,
};

/// Time for the removals and the uploads that began before a hold.
const SETTLE: Duration = Duration::from_secs(20);

/// Interval between two looks at the removals that began before a hold.
const INTERVAL: Duration = Duration::from_millis(100);

/// Maximum number of removals that a hold waits for at once, and that it reports.
const MAX_REMOVALS: usize = 1000;

/// A removal that began before a hold.
struct Earlier {
    key: String,
    event: String,
}

impl Ledger {
    /// Adds a hold, and waits at least 2 seconds: when this returns, the hold takes effect on every server that shares the ledger,
    /// and what began before it has ended, unless [`AddedHold::is_settled`] is `false`.
    ///
    /// The hold remains if the future is dropped. Invalid conditions are
    /// [`ErrorKind::InvalidRequest`](kazoo_storage::ErrorKind::InvalidRequest).
    pub async fn add_hold(&self, hold: NewHold) -> Result<AddedHold> {
        let hold = hold.checked()?;
        self.change(vec![changed(), hold.insert()]).await?;
        let begun = Instant::now();
        let mut committed = self.keeper().forget();
        let earlier = self.earlier(&hold.id).await?;
        let deadline = begun + SETTLE;
        // Nothing is sent: it ends when the last upload has.
        let is_committed = timeout_at(deadline, committed.recv()).await.is_ok();
        sleep(LEASE.saturating_sub(begun.elapsed())).await;
        let (removed, has_ended) = self.wait_for(earlier, &hold, deadline).await?;
        // The hold is in force, whatever becomes of the count.
        let files = self.count_of(&hold).await.ok();
        Ok(AddedHold {
            hold,
            removed,
            files,
            is_settled: is_committed && has_ended,
        })
    }

    /// Waits until the removals that began before `hold` have ended, of which `earlier` are the first. Returns the files that are gone,
    /// and `false` if a removal has not ended by the `deadline`.
    async fn wait_for(
        &self,
        mut earlier: Vec<Earlier>,
        hold: &Hold,
        deadline: Instant,
    ) -> Result<(Vec<BlobKey>, bool)> {
        let mut removed = Vec::new();
        while !earlier.is_empty() {
            let mut remaining = Vec::new();
            for removal in earlier {
                match self.state_of(&removal).await? {
                    State::Running => remaining.push(removal),
                    State::Removed if removed.len() < MAX_REMOVALS => removed.push(decode(&removal.key)?),
                    State::Removed | State::Kept => {}
                }
            }
            if remaining.is_empty() {
                remaining = self.earlier(&hold.id).await?;
            }
            earlier = remaining;
            if !earlier.is_empty() {
                if Instant::now() >= deadline {
                    return Ok((removed, false));
                }
                sleep(INTERVAL).await;
            }
        }
        Ok((removed, true))
    }

    /// Returns the rules, and what an upload holds while it is committed under them.
    pub(crate) async fn rules(&self) -> Result<(Arc<Rules>, Committing)> {
        self.keeper().rules(self.database()).await
    }

    /// Returns all holds, the oldest first.
    pub async fn holds(&self) -> Result<Vec<Hold>> {
        let rows = self.read(statement!(HOLDS)).await?;
        rows.into_iter().map(Hold::read).collect()
    }

    /// Returns the number of files that `hold` keeps, at most 1000.
    async fn count_of(&self, hold: &Hold) -> Result<usize> {
        let rows = self.read(counting(hold)).await?;
        Ok(rows.len())
    }

    /// Returns the hold with this id.
    pub async fn hold(&self, id: &str) -> Result<Option<Hold>> {
        Ok(self.holds().await?.into_iter().find(|hold| hold.id == id))
    }

    /// Returns the holds of the file under `key`, the oldest first. Returns none if the ledger does not have the file.
    pub async fn holds_of(&self, key: &BlobKey) -> Result<Vec<Hold>> {
        let rows = self.read(holding(key)).await?;
        rows.into_iter().map(Hold::read).collect()
    }

    /// Removes a hold. Returns it, or `None` if there is none with this id.
    pub async fn remove_hold(&self, id: &str) -> Result<Option<Hold>> {
        const SQL: &str = concat!("DELETE FROM holds WHERE id = $1 RETURNING ", columns!(""));
        let statements = vec![changed(), statement!(SQL, id)];
        let rows = self.change(statements).await?.pop().unwrap_or_default();
        drop(self.keeper().forget());
        rows.into_iter().next().map(Hold::read).transpose()
    }

    /// Returns the removals that began before the hold and have not ended, at most [`MAX_REMOVALS`], of files that it keeps.
    async fn earlier(&self, hold: &str) -> Result<Vec<Earlier>> {
        const SQL: &str = concat!(
            "SELECT r.key, r.event FROM removals r JOIN files f ON f.key = r.key JOIN holds h ON h.id = $1 WHERE ",
            keeps!(),
            " ORDER BY r.key LIMIT $2"
        );
        let limit = i64::try_from(MAX_REMOVALS).unwrap_or(i64::MAX);
        let rows = self.read(statement!(SQL, hold, limit)).await?;
        rows.into_iter()
            .map(|mut row| {
                Ok(Earlier {
                    key: row.text()?,
                    event: row.text()?,
                })
            })
            .collect()
    }

    async fn state_of(&self, removal: &Earlier) -> Result<State> {
        const RUNNING: &str = "SELECT key FROM removals WHERE key = $1 AND event = $2";
        const FILE: &str = "SELECT key FROM files WHERE key = $1";
        let statements = vec![
            statement!(RUNNING, &*removal.key, &*removal.event),
            statement!(FILE, &*removal.key),
        ];
        let found = self.read_all(statements).await?;
        let mut found = found.iter().map(|rows: &Vec<Row>| !rows.is_empty());
        Ok(match (found.next(), found.next()) {
            (Some(true), _) => State::Running,
            (_, Some(true)) => State::Kept,
            _ => State::Removed,
        })
    }
}

/// Returns the statement with a row for each file that `hold` keeps, at most 1000. Its first condition is one for which the
/// files have an index: [`keeps!`] has none.
fn counting(hold: &Hold) -> Statement {
    macro_rules! sql {
        ($narrow:literal) => {
            concat!(
                "SELECT f.key FROM files f CROSS JOIN holds h WHERE h.id = $1 AND ",
                $narrow,
                " AND ",
                keeps!(),
                " LIMIT 1000"
            )
        };
    }
    const DOCUMENT: &str =
        sql!("(f.key >= $2 AND f.key < $3 OR f.owner IS NOT NULL AND f.account = $4 AND f.document = $5)");
    let id = &*hold.id;
    match hold {
        Hold { key: Some(key), .. } => statement!(sql!("f.key = $2"), id, encode(key)),
        Hold {
            call_id: Some(call_id), ..
        } => statement!(sql!("f.call_id = $2"), id, &**call_id),
        Hold {
            number: Some(number), ..
        } => {
            statement!(sql!("(f.caller_number = $2 OR f.callee_number = $2)"), id, &**number)
        }
        // A file with an owner has the key of the owner before that of the document.
        Hold {
            account: Some(account),
            document: Some(document),
            ..
        } => {
            let first = format!("{account}{SEPARATOR}{document}{SEPARATOR}");
            let last = format!("{account}{SEPARATOR}{document}\u{20}");
            statement!(DOCUMENT, id, first, last, &**account, &**document)
        }
        Hold {
            account: Some(account), ..
        } => statement!(sql!("f.account = $2"), id, &**account),
        Hold { since, until, .. } => {
            let (since, until) = (
                since.map_or(0, time::to_millis),
                until.map_or(i64::MAX, time::to_millis),
            );
            statement!(sql!("f.stored_at >= $2 AND f.stored_at < $3"), id, since, until)
        }
    }
}

/// The state of a removal that began before a hold.
enum State {
    Running,
    Removed,
    Kept,
}

/// Counts a change of the holds. In PostgreSQL, it waits for the removals that are beginning, and later ones wait for it.
fn changed() -> Statement {
    const SQL: &str = "UPDATE state SET value = value + 1 WHERE name = 'holds'";
    statement!(SQL)
}

/// Returns the statement that finds the holds of the file under `key`, the oldest first.
pub(super) fn holding(key: &BlobKey) -> Statement {
    const SQL: &str = concat!(
        "SELECT ",
        columns!("h."),
        " FROM files f CROSS JOIN holds h WHERE f.key = $1 AND ",
        keeps!(),
        " ORDER BY h.created_at, h.id"
    );
    statement!(SQL, encode(key))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use futures_util::future::join_all;
    use kazoo_storage::Metadata;

    use super::*;
    use crate::{database::MIGRATIONS, file::FileRecord};

    #[tokio::test(start_paused = true)]
    async fn waits_for_all_removals_that_began_before() {
        const BEGIN: &str = "INSERT INTO removals SELECT key, 'removal', event, 'operator', 'other', 0 FROM files";
        const END: &str = "DELETE FROM removals WHERE key <> $1";
        const DELETE: &str = "DELETE FROM files WHERE key = $1";
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        let key = |number| BlobKey::from_path(&format!("acc/doc/{number:04}")).unwrap();
        let files = (0..=MAX_REMOVALS).map(async |number| {
            ledger.record(&FileRecord::new(&key(number), 3, None)).await.unwrap();
        });
        join_all(files).await;
        ledger.change(vec![statement!(BEGIN)]).await.unwrap();
        let hold = NewHold::new("case 7", "legal").account("acc").checked().unwrap();
        ledger.change(vec![hold.insert()]).await.unwrap();

        let earlier = ledger.earlier(&hold.id).await.unwrap();
        assert_eq!(earlier.len(), MAX_REMOVALS);
        let end = statement!(END, encode(&key(MAX_REMOVALS)));
        let delete = statement!(DELETE, encode(&key(0)));
        ledger.change(vec![end, delete]).await.unwrap();
        let deadline = Instant::now() + SETTLE;
        let (removed, has_ended) = ledger.wait_for(earlier, &hold, deadline).await.unwrap();
        assert_eq!(removed, [key(0)]);
        assert!(!has_ended, "the last one is running");
        assert!(Instant::now() >= deadline);
    }

    #[test]
    fn counts_by_an_index() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for schema in MIGRATIONS {
            connection.execute_batch(schema).unwrap();
        }
        let hold = || NewHold::new("case 7", "legal");
        let key = BlobKey::from_path("a/b/c").unwrap();
        for (hold, indexes) in [
            (hold().key(&key).account("a"), vec!["(key=?)"]),
            (hold().call_id("1").account("a"), vec!["files_by_call_id (call_id=?)"]),
            (
                hold().number("1").account("a"),
                vec!["files_by_caller_number (", "files_by_callee_number ("],
            ),
            (
                hold().account("a").document("d"),
                vec!["(key>? AND key<?)", "files_by_document (account=? AND document=?)"],
            ),
            (hold().account("a"), vec!["files_by_account (account=?)"]),
            (
                hold().since(SystemTime::now()),
                vec!["files_by_time (stored_at>? AND stored_at<?)"],
            ),
        ] {
            let Statement { sql, parameters } = counting(&hold.checked().unwrap());
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(3));
            let steps: Vec<String> = rows.unwrap().map(Result::unwrap).collect();
            let uses = |index: &&str| steps.iter().any(|step| step.contains(index));
            assert!(indexes.iter().all(uses), "{sql}: {steps:?}");
        }
    }

    #[tokio::test]
    async fn counts_the_files_that_a_hold_keeps() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
        let keys = ["A/D/1", "A/D/2", "A/E/3", "B/D/4"].map(|path| BlobKey::from_path(path).unwrap());
        for key in &keys {
            let document = format!(r#"{{"call_id":"{}","caller_id_number":"+1312"}}"#, key.attachment());
            let metadata = Metadata::from_json(document).unwrap();
            ledger.record(&FileRecord::new(key, 3, Some(metadata))).await.unwrap();
        }
        let hold = || NewHold::new("case 7", "legal");
        let hour = Duration::from_secs(3600);
        let (before, after) = (SystemTime::now() - hour, SystemTime::now() + hour);
        for (new, expected) in [
            (hold().account("A"), 3),
            (hold().account("A").document("D"), 2),
            (hold().account("C"), 0),
            (hold().number("+1312"), 4),
            (hold().number("+1312").call_id("4").account("A"), 0),
            (hold().call_id("4"), 1),
            (hold().since(before).until(after), 4),
            (hold().since(after), 0),
            (hold().until(before), 0),
            (hold().key(&keys[2]), 1),
            (hold().key(&keys[2]).account("B"), 0),
            (hold().key(&BlobKey::from_path("A/D/5").unwrap()), 0),
        ] {
            let hold = new.checked().unwrap();
            ledger.change(vec![hold.insert()]).await.unwrap();
            let mut kept = 0;
            for key in &keys {
                kept += ledger.holds_of(key).await.unwrap().len();
            }
            let counted = ledger.count_of(&hold).await.unwrap();
            assert_eq!((counted, kept), (expected, expected), "{expected}");
            ledger.remove_hold(&hold.id).await.unwrap();
        }
    }
}
