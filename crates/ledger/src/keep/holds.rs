//! Adds, shows and removes holds.

use std::time::Duration;

use kazoo_storage::{BlobKey, Result};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    hold::{Hold, NewHold, columns, keeps},
    rules::LEASE,
};
use crate::{
    database::{Row, Statement, statement},
    ledger::Ledger,
    rows::{decode, encode},
};

/// Time for the removals and the uploads that began before a hold.
const SETTLE: Duration = Duration::from_secs(20);

/// Interval between two looks at the removals that began before a hold.
const INTERVAL: Duration = Duration::from_millis(100);

/// Maximum number of removals that a hold waits for and reports.
macro_rules! max_removals {
    () => {
        "1000"
    };
}

/// The result of [`Ledger::add_hold`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AddedHold {
    /// The hold.
    pub hold: Hold,
    /// The files, at most 1000, whose removal began before the hold, and which are gone.
    pub removed: Vec<BlobKey>,
    /// `false` if a removal or an upload that began before the hold has not ended within 20 seconds. It may still remove or
    /// replace a file.
    pub is_settled: bool,
}

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
        let mut earlier = self.earlier(&hold.id).await?;
        let deadline = begun + SETTLE;
        // Nothing is sent: it ends when the last upload has.
        let mut is_settled = timeout_at(deadline, committed.recv()).await.is_ok();
        sleep(LEASE.saturating_sub(begun.elapsed())).await;
        let mut removed = Vec::new();
        while !earlier.is_empty() {
            let mut remaining = Vec::new();
            for removal in earlier {
                match self.state_of(&removal).await? {
                    State::Running => remaining.push(removal),
                    State::Removed => removed.push(decode(&removal.key)?),
                    State::Kept => {}
                }
            }
            earlier = remaining;
            if !earlier.is_empty() && Instant::now() >= deadline {
                is_settled = false;
                break;
            }
            if !earlier.is_empty() {
                sleep(INTERVAL).await;
            }
        }
        Ok(AddedHold {
            hold,
            removed,
            is_settled,
        })
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

    /// Returns the removals that began before the hold, of files that it keeps.
    async fn earlier(&self, hold: &str) -> Result<Vec<Earlier>> {
        const SQL: &str = concat!(
            "SELECT r.key, r.event FROM removals r JOIN files f ON f.key = r.key JOIN holds h ON h.id = $1 WHERE ",
            keeps!(),
            " ORDER BY r.key LIMIT ",
            max_removals!()
        );
        let rows = self.read(statement!(SQL, hold)).await?;
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
