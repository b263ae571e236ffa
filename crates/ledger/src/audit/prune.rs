//! Removes old entries.

use std::time::SystemTime;

use kazoo_storage::Result;

use super::{
    append::append,
    entry::{Action, Entry},
};
use crate::{database::statement, ledger::Ledger, time};

/// Number of entries that a transaction removes.
const BATCH: usize = 1000;

impl Ledger {
    /// Removes the entries of the audit trail before `before`, up to the first one that is not older. Returns their number.
    ///
    /// The chain stays valid: it begins at the hash of the last entry that was removed. The removal itself is an entry. Without this
    /// call, entries are kept forever.
    pub async fn prune_audit(&self, before: SystemTime) -> Result<u64> {
        const OLDEST: &str = "SELECT seq, at FROM audit ORDER BY seq LIMIT $1";
        const ANCHOR: &str = "UPDATE audit_ends SET seq = (SELECT seq FROM audit WHERE seq = $1), \
                hash = (SELECT hash FROM audit WHERE seq = $1) \
            WHERE name = 'anchor' AND seq < $1 AND EXISTS (SELECT 1 FROM audit WHERE seq = $1)";
        const REMOVE: &str = "DELETE FROM audit WHERE seq <= $1 AND seq <= (SELECT seq FROM audit_ends WHERE name = 'anchor') \
            RETURNING seq";
        let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
        let mut pruned = 0;
        loop {
            let mut last = None;
            let mut count = 0;
            for mut row in self.read(statement!(OLDEST, limit)).await? {
                let (seq, at) = (row.integer()?, row.integer()?);
                if at >= time::to_millis(before) {
                    break;
                }
                last = Some(seq);
                count += 1;
            }
            let Some(last) = last else { return Ok(pruned) };
            let statements = vec![statement!(ANCHOR, last), statement!(REMOVE, last)];
            let mut trail = Vec::new();
            if pruned == 0 {
                let outcome = format!("before {} ms", time::to_millis(before));
                trail.extend(append(&Entry::new(Action::Prune, outcome)));
            }
            let rows = self.change_audited(statements, trail).await?;
            pruned += rows.get(1).map_or(0, Vec::len) as u64;
            if count < BATCH {
                self.wake_audit();
                return Ok(pruned);
            }
        }
    }
}
