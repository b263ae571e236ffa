//! [`Recorded::finish_removals`]: finishes removals that were interrupted.

use std::{collections::BTreeMap, ops::Range};

use kazoo_storage::{BlobCatalog, BlobKey, ErrorKind, Result};

use super::{
    cause::Cause,
    remove::{Begun, Removal},
    statements::{Replaceable, audited, beginning, ending, forgetting, intent, locking, running},
};
use crate::{
    database::statement,
    event::{self, EventKind},
    ledger::Ledger,
    measure,
    protection::{Found, find},
    record::unrecorded,
    recorded::Recorded,
    rows::{decode, encode, read},
};

/// An intent that may be left from a crash.
struct Left {
    key: BlobKey,
    event: String,
    file_event: String,
    cause: Cause,
}

impl<S: BlobCatalog> Recorded<S> {
    /// Finishes the removals that a crash or a failure has interrupted. Returns the number of files that were removed.
    ///
    /// Returns the last failure if some could not be finished. A file that still exists and is held meanwhile stays, and so does
    /// one that was uploaded again. A file that the policy keeps now stays, too: set the policy before.
    ///
    /// Call this when the server starts, and from time to time. With PostgreSQL, a removal of another server counts as interrupted
    /// after five minutes. Until it is finished, an upload of its file fails with
    /// [`ErrorKind::Unavailable`](kazoo_storage::ErrorKind::Unavailable).
    pub async fn finish_removals(&self) -> Result<u64> {
        let (mut removed, mut failure) = (0, None);
        let running = running(self.ledger.engine());
        let mut after = String::new();
        loop {
            let Some(left) = self.ledger.left(&running, &after).await? else {
                return failure.map_or(Ok(removed), Err);
            };
            after = encode(&left.key);
            match self.resume(left).await {
                Ok(is_removed) => removed += u64::from(is_removed),
                // The others may be finished nevertheless.
                Err(error) => failure = Some(error),
            }
        }
    }

    /// Finishes a removal, or drops its intent. Returns `true` if the file is removed now.
    async fn resume(&self, left: Left) -> Result<bool> {
        // A removal by this process ends first. Its intent is then gone.
        let _guard = self.locks.clone().lock(left.key.clone()).await;
        if self.is_kept(&left).await? {
            let statements = vec![locking(&left.key), forgetting(&left.key, &left.event)];
            self.ledger.change(statements).await.map_err(unrecorded)?;
            return Ok(false);
        }
        let event = event::new_id();
        let mut statements = beginning(self.ledger.engine(), &[&left.key]);
        let skipped = statements.len();
        let replaceable = Replaceable {
            running: running(self.ledger.engine()),
            server: &self.server,
            resumed: Some(&left.event),
        };
        statements.extend(intent(&left.key, &event, left.cause, &left.file_event, &replaceable));
        let rows = self.ledger.change(statements).await.map_err(unrecorded)?;
        let mut rows = rows.into_iter().skip(skipped);
        let (file, is_held) = (rows.next(), rows.next_back().is_some_and(|rows| !rows.is_empty()));
        if let Some(row) = file.into_iter().flatten().next() {
            let begun = Begun {
                file: read(row)?,
                key: left.key.clone(),
                event,
                cause: left.cause,
            };
            let mut results = BTreeMap::new();
            self.finish(vec![begun], &mut results).await.map_err(unrecorded)?;
            return match results.remove(&left.key) {
                Some(Err(error)) => Err(error),
                Some(Ok(Removal::Removed(_))) => Ok(true),
                _ => Ok(false),
            };
        }
        // A hold comes too late for a file that the store has removed.
        let is_gone = is_held && !self.is_stored(&left.key).await?;
        let mut statements = vec![locking(&left.key)];
        if !is_gone {
            statements.push(forgetting(&left.key, &left.event));
            self.ledger.change(statements).await.map_err(unrecorded)?;
            return Ok(false);
        }
        let end = statements.len();
        statements.extend(ending(&left.key, &left.event, left.cause));
        let trail = audited(&left.key, &left.event, left.cause);
        let changed = self.ledger.change_files_audited(statements, trail).await;
        let rows = changed.map_err(unrecorded)?;
        // Otherwise the intent is gone, or another upload has stored the file.
        let is_removed = rows.get(end).is_some_and(|rows| !rows.is_empty());
        if is_removed {
            measure::recorded(EventKind::Deleted);
        }
        Ok(is_removed)
    }

    /// Returns `true` if the store still has the file, and the policy or the clock does not permit its removal any more.
    async fn is_kept(&self, left: &Left) -> Result<bool> {
        let rows = self.ledger.read(find(&left.key)).await.map_err(unrecorded)?;
        let Some(found) = rows.into_iter().next().map(Found::read).transpose()? else {
            return Ok(false);
        };
        let (policy, now) = (self.ledger.policy(), self.ledger.now());
        let is_suspended = || self.ledger.suspension().is_some();
        let is_due = match left.cause {
            Cause::Retention => policy.deletes(&found.file, now) && !is_suspended(),
            Cause::Request => !is_suspended(),
            Cause::Operator | Cause::Erasure | Cause::Repair => true,
        };
        let has_floor = policy.floor_end(&found.file).is_some_and(|end| end > now);
        Ok((has_floor || !is_due) && self.is_stored(&left.key).await?)
    }

    /// Returns `true` if the store has the file, which may be damaged.
    pub(super) async fn is_stored(&self, key: &BlobKey) -> Result<bool> {
        match self.inner.head(key).await {
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Internal) => Ok(true),
            head => head.map(|_| true),
        }
    }
}

impl Ledger {
    /// Returns the first intent that was not recorded at the times of `running` and whose key follows `after`.
    async fn left(&self, running: &Range<i64>, after: &str) -> Result<Option<Left>> {
        const SQL: &str = "SELECT key, event, file_event, cause FROM removals \
            WHERE (begun_at < $1 OR begun_at >= $2) AND key > $3 ORDER BY key LIMIT 1";
        let rows = self.read(statement!(SQL, running.start, running.end, after)).await?;
        let Some(mut row) = rows.into_iter().next() else {
            return Ok(None);
        };
        Ok(Some(Left {
            key: decode(&row.text()?)?,
            event: row.text()?,
            file_event: row.text()?,
            cause: Cause::named(&row.text()?),
        }))
    }
}

#[cfg(test)]
mod tests {
    use kazoo_storage::{BlobStore as _, MemoryStore, Upload};

    use super::*;

    const HOLD: &str =
        "INSERT INTO holds (id, reason, author, created_at, account) VALUES ('h', 'case 7', 'legal', 1, 'A')";

    /// A removal of this process may end between the look at its intent and [`Recorded::resume`].
    #[tokio::test]
    async fn a_removal_whose_intent_is_gone_is_neither_resumed_nor_reported() {
        for is_held in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let ledger = Ledger::sqlite(directory.path().join("ledger.sqlite")).await.unwrap();
            let files = MemoryStore::new();
            let store = Recorded::new(files.clone(), ledger.clone());
            let key = BlobKey::from_segments(["A", "D", "1"]).unwrap();
            store.put(Upload::new(key.clone(), "old")).await.unwrap();
            let found = ledger.read(find(&key)).await.unwrap().into_iter().next().unwrap();
            let replaceable = Replaceable {
                running: 0..0,
                server: "server",
                resumed: None,
            };
            let file_event = Found::read(found).unwrap().event;
            let intent = intent(&key, "removal", Cause::Operator, &file_event, &replaceable);
            ledger.change(intent.into()).await.unwrap();
            let left = ledger.left(&(0..0), "").await.unwrap().unwrap();
            if is_held {
                // The store has removed the file.
                ledger.change(vec![statement!(HOLD)]).await.unwrap();
                files.delete(&key).await.unwrap();
            }
            let ended = vec![locking(&key), forgetting(&key, "removal")];
            ledger.change(ended).await.unwrap();
            assert!(!store.resume(left).await.unwrap(), "{is_held}");
            assert_eq!(files.head(&key).await.is_ok(), !is_held);
            assert!(ledger.file(&key).await.unwrap().is_some());
        }
    }
}
