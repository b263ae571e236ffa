//! The statements of the steps of a removal.

use std::ops::Range;
#[cfg(feature = "postgres")]
use std::time::Duration;

use kazoo_storage::BlobKey;

use super::cause::Cause;
use crate::{
    audit::{self, Entry},
    database::{Engine, Statement, statement},
    holds::keeps,
    outbox,
    protection::protecting,
    rows::{encode, short_columns},
    time,
};

/// The outcome of a removal in the audit trail.
const REMOVED: &str = "removed";

/// Age after which a removal that another server has begun counts as interrupted. Twice the time in which a batch begins its removals
/// from the store.
#[cfg(feature = "postgres")]
const INTERRUPTED: Duration = Duration::from_secs(300);

/// Returns the statements that precede those of [`intent`] for the files under `keys`, which are sorted.
#[cfg_attr(
    not(feature = "postgres"),
    expect(unused_variables, reason = "SQLite locks the whole database")
)]
pub(super) fn beginning(engine: Engine, keys: &[&BlobKey]) -> Vec<Statement> {
    match engine {
        // It has one writer at a time.
        Engine::Sqlite => Vec::new(),
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            const HOLDS: &str = "SELECT value FROM state WHERE name = 'holds' FOR SHARE";
            let mut statements = vec![statement!(HOLDS)];
            statements.extend(keys.iter().map(|key| locking(key)));
            statements
        }
    }
}

/// Returns the statement that locks the row of the file under `key`. Every statement that changes an intent follows it, so that the
/// statements after it see the changes of other servers.
pub(super) fn locking(key: &BlobKey) -> Statement {
    const SQL: &str = "UPDATE files SET event = event WHERE key = $1";
    statement!(SQL, encode(key))
}

/// The intents that [`intent`] may replace.
pub(super) struct Replaceable<'a> {
    /// The start times of removals that may be running. A crash or a failure has left an intent with another start time.
    pub(super) running: Range<i64>,
    /// The server that replaces the intents. It may replace its own.
    pub(super) server: &'a str,
    /// If a removal is resumed, the event that its intent must still have: without it, the removal has ended.
    pub(super) resumed: Option<&'a str>,
}

/// Returns the start times of removals that may be running.
pub(super) fn running(engine: Engine) -> Range<i64> {
    match engine {
        // The processes that share it are on one machine, and only one of them has the store.
        Engine::Sqlite => 0..0,
        #[cfg(feature = "postgres")]
        Engine::Postgres => {
            let (now, age) = (time::now(), i64::try_from(INTERRUPTED.as_millis()).unwrap_or(i64::MAX));
            // The clock of the server that has ended may have been ahead.
            now.saturating_sub(age)..now.saturating_add(age)
        }
    }
}

/// Returns the statements that record the intent to remove the file under `key`, unless it is held or another removal of it is
/// running: the first returns the file, the last the hold. The row of the file must have the event `expected`, so that it is the
/// row that was checked. It keeps this event: if the removal fails, it is the last one of the file.
pub(super) fn intent(
    key: &BlobKey,
    event: &str,
    cause: Cause,
    expected: &str,
    replaceable: &Replaceable<'_>,
) -> [Statement; 3] {
    macro_rules! is_free {
        ($server:literal, $since:literal, $until:literal, $resumed:literal) => {
            concat!(
                "NOT EXISTS (SELECT 1 FROM removals r WHERE r.key = f.key AND r.server <> ",
                $server,
                " AND r.begun_at >= ",
                $since,
                " AND r.begun_at < ",
                $until,
                ") AND NOT EXISTS (SELECT 1 FROM holds h WHERE ",
                keeps!(),
                ") AND (CAST(",
                $resumed,
                " AS TEXT) IS NULL OR EXISTS (SELECT 1 FROM removals r WHERE r.key = f.key AND r.event = ",
                $resumed,
                "))"
            )
        };
    }
    // With this revision, an upload of the same file is recorded, too. It then has another event, and is not removed.
    const TAKE: &str = concat!(
        "UPDATE files AS f SET revision = -abs(revision) WHERE key = $1 AND event = $2 AND ",
        is_free!("$3", "$4", "$5", "$6"),
        " RETURNING ",
        short_columns!()
    );
    const BEGIN: &str = concat!(
        "INSERT INTO removals (key, event, file_event, cause, server, begun_at) \
            SELECT f.key, CAST($1 AS TEXT), f.event, CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT) FROM files f \
            WHERE f.key = $5 AND f.event = $6 AND ",
        is_free!("$3", "$7", "$8", "$9"),
        " ON CONFLICT (key) DO UPDATE SET event = excluded.event, file_event = excluded.file_event, \
            cause = excluded.cause, server = excluded.server, begun_at = excluded.begun_at"
    );
    let Range { start, end } = replaceable.running;
    let (server, resumed) = (replaceable.server, replaceable.resumed);
    [
        statement!(TAKE, encode(key), expected, server, start, end, resumed),
        statement!(
            BEGIN,
            event,
            cause.as_str(),
            server,
            time::now(),
            encode(key),
            expected,
            start,
            end,
            resumed
        ),
        protecting(key),
    ]
}

/// Returns the statements, except those of [`audited`], that end the removal of a file that the store no longer has. They follow
/// [`locking`]. The first returns a row if the file is still the one that was to be removed, by this removal; otherwise, nothing is
/// removed.
pub(super) fn ending(key: &BlobKey, event: &str, cause: Cause) -> Vec<Statement> {
    const TAKE: &str = "UPDATE files SET event = $1 WHERE key = $2 \
        AND event = (SELECT r.file_event FROM removals r WHERE r.key = $2 AND r.event = $1) RETURNING key";
    const DROP: &str = "DELETE FROM removals WHERE key = $1 AND event = $2 \
        AND NOT EXISTS (SELECT 1 FROM files f WHERE f.key = $1 AND f.event = $2)";
    const DELETE: &str = "DELETE FROM files WHERE key = $1 AND event = $2";
    let mut statements = vec![
        statement!(TAKE, event, encode(key)),
        statement!(DROP, encode(key), event),
    ];
    if cause == Cause::Erasure {
        statements.extend(outbox::erase(key, event));
    }
    statements.extend([outbox::deleted(key, event), statement!(DELETE, encode(key), event)]);
    statements
}

/// Returns the statements that append the entry about a file to the audit trail if [`ending`] has removed it, and that remove the
/// intent. They are the trail of their transaction.
pub(super) fn audited(key: &BlobKey, event: &str, cause: Cause) -> Vec<Statement> {
    let entry = Entry::new(cause.action(), REMOVED).key(key);
    // No other transaction waits for the intent: it would have locked the row of the file before.
    let mut statements = Vec::from(audit::append_removal(&entry, &encode(key), event));
    statements.push(forgetting(key, event));
    if cause == Cause::Erasure {
        statements.push(audit::erase_key(key));
    }
    statements
}

/// Returns the statement that removes an intent. It follows [`locking`], so that the intent does not disappear during an upload that
/// has seen it.
pub(super) fn forgetting(key: &BlobKey, event: &str) -> Statement {
    const SQL: &str = "DELETE FROM removals WHERE key = $1 AND event = $2";
    statement!(SQL, encode(key), event)
}
