//! Appends entries.

use kazoo_storage::Result;

use super::entry::{Entry, Fields, Subject, millis};
use crate::{
    database::{Statement, Value, statement},
    ledger::Ledger,
};

/// The statement that extends the chain if `$condition` holds.
macro_rules! extend {
    ($condition:literal) => {
        concat!(
            "UPDATE audit_ends SET seq = seq + 1, hash = audit_hash(hash, $1) WHERE name = 'head'",
            $condition
        )
    };
}

/// Returns the statements that append `entry`. They take effect with the others of their transaction, and lock the end of the trail:
/// pass them to [`Ledger::change_audited`] as the trail.
pub(crate) fn append(entry: &Entry) -> [Statement; 2] {
    const EXTEND: &str = extend!("");
    const INSERT: &str = "INSERT INTO audit (seq, at, name, address, action, outcome, key, salt, subject, hash) VALUES ( \
            (SELECT seq FROM audit_ends WHERE name = 'head'), $1, $2, $3, $4, $5, $6, $7, $8, \
            (SELECT hash FROM audit_ends WHERE name = 'head')) RETURNING seq";
    statements(entry, EXTEND, INSERT)
}

/// Returns the statements that append `entry` as [`append`] does, if the intent to remove `key` has `event`.
pub(crate) fn append_removal(entry: &Entry, key: &str, event: &str) -> [Statement; 2] {
    const EXTEND: &str = extend!(" AND EXISTS (SELECT 1 FROM removals r WHERE r.key = $2 AND r.event = $3)");
    const INSERT: &str = "INSERT INTO audit (seq, at, name, address, action, outcome, key, salt, subject, hash) \
        SELECT seq, $1, $2, $3, $4, $5, $6, $7, $8, hash FROM audit_ends WHERE name = 'head' \
        AND EXISTS (SELECT 1 FROM removals r WHERE r.key = $9 AND r.event = $10)";
    statements(entry, EXTEND, INSERT).map(|mut statement| {
        statement.parameters.extend([key, event].map(Value::from));
        statement
    })
}

fn statements(entry: &Entry, extend: &'static str, insert: &'static str) -> [Statement; 2] {
    let at = millis(entry.at);
    let address = entry.address.map(|address| address.to_canonical().to_string());
    let subject = entry.key.as_ref().map(Subject::of);
    let fields = Fields {
        at,
        name: entry.name.as_deref(),
        address: address.as_deref(),
        action: entry.action.as_str(),
        outcome: &entry.outcome,
        subject: subject.as_ref().map(|subject| &*subject.digest),
    };
    let extend = statement!(extend, fields.encode());
    let (key, salt, digest) = match subject {
        Some(Subject { key, salt, digest }) => (Some(key), Some(salt), Some(digest)),
        None => (None, None, None),
    };
    let insert = statement!(
        insert,
        at,
        entry.name.as_deref(),
        address,
        entry.action.as_str(),
        &*entry.outcome,
        key,
        salt,
        digest,
    );
    [extend, insert]
}

impl Ledger {
    /// Appends `entry` to the audit trail. Returns its number when it is durable.
    ///
    /// Entries that are appended together share a commit. If this fails, the entry may have been appended nevertheless.
    pub async fn append_audit(&self, entry: &Entry) -> Result<i64> {
        let rows = self.change_audited(Vec::new(), append(entry).into()).await?;
        self.wake_audit();
        let mut rows = rows.into_iter().flatten();
        rows.next().map_or(Ok(0), |mut row| row.integer())
    }

    /// Appends `entries` to the audit trail, in this order and in one transaction. Returns when they are durable.
    ///
    /// If this fails, either all of them or none were appended.
    pub async fn append_audit_all(&self, entries: &[Entry]) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let trail = entries.iter().flat_map(append).collect();
        self.change_audited(Vec::new(), trail).await?;
        self.wake_audit();
        Ok(())
    }
}
