//! Erases the keys of entries.

use kazoo_storage::{BlobKey, Result};

use super::search::range;
use crate::{
    database::{Statement, statement},
    ledger::Ledger,
    rows::encode,
};

/// Maximum number of entries in a transaction.
const BATCH: usize = 256;

/// Returns the statement that erases `key` from the audit trail, and the key of its document, which the entries about a hold may have.
/// It returns a row for each entry.
pub(crate) fn erase_key(key: &BlobKey) -> Statement {
    const SQL: &str = "UPDATE audit SET key = NULL, salt = NULL WHERE key IN ($1, $2) RETURNING seq";
    let document = match (key.account_id(), key.document_id()) {
        (Some(account), Some(document)) => BlobKey::from_segments([account, document]).ok(),
        _ => None,
    };
    statement!(SQL, encode(key), encode(document.as_ref().unwrap_or(key)))
}

impl Ledger {
    /// Erases the keys that begin with `account`, or have only this segment, from the audit trail, including those of removed files:
    /// the entries stay, and nothing tells what they are about. The chain stays valid. Returns the number of entries.
    pub async fn erase_audit_account(&self, account: &str) -> Result<u64> {
        const SQL: &str = "UPDATE audit SET key = NULL, salt = NULL WHERE seq IN ( \
                SELECT seq FROM audit WHERE key = $1 OR key >= $2 AND key < $3 LIMIT 256) RETURNING seq";
        let [from, to] = range(account);
        let mut erased = 0;
        loop {
            let rows = self.change(vec![statement!(SQL, account, &*from, &*to)]).await?;
            let count = rows.iter().flatten().count();
            erased += count as u64;
            if count < BATCH {
                return Ok(erased);
            }
        }
    }
}
