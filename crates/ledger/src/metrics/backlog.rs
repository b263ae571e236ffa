//! [`watch`]: records what waits in a ledger.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kazoo_storage::Result;
use metrics::gauge;
use tokio::time::{sleep, timeout};

use super::names::{EVENTS_DEAD, EVENTS_OLDEST_AGE, EVENTS_WAITING, LABEL_RECEIVER, LEDGER_SIZE};
use crate::{
    database::{Engine, Row, Statement, statement},
    ledger::Ledger,
    time,
};

/// Time between two measurements.
const INTERVAL: Duration = Duration::from_secs(15);

/// Minimum ratio of the time between two measurements to the time of a measurement. Counting a million events
/// takes some tenths of a second.
const PAUSE: u32 = 50;

/// Time until the pause ends after [`Ledger::close`].
const POLL: Duration = Duration::from_secs(1);

/// What a receiver has not received yet.
#[derive(Debug, PartialEq)]
struct Backlog {
    waiting: i64,
    dead: i64,
    /// Age of the oldest event that waits, in milliseconds.
    age: i64,
}

/// Records the size of `ledger`, and the number of events that wait for each receiver, until [`Ledger::close`].
///
/// It counts every 15 seconds, or less often if that would take more than 2 % of the time. Counting delays no upload. Processes
/// that share a ledger measure the same values.
pub async fn watch(ledger: Ledger) {
    let mut known = BTreeSet::new();
    let mut failed = false;
    while !ledger.is_closed() {
        let begun = Instant::now();
        match measure(&ledger, &mut known).await {
            Ok(()) => failed = false,
            Err(error) if !failed => {
                tracing::warn!(%error, "the events that wait in the ledger cannot be counted; the metrics keep their values");
                failed = true;
            }
            Err(_) => {}
        }
        let pause = INTERVAL.max(begun.elapsed().saturating_mul(PAUSE));
        let _ = timeout(pause, closed(&ledger)).await;
    }
}

async fn closed(ledger: &Ledger) {
    while !ledger.is_closed() {
        sleep(POLL).await;
    }
}

/// Records the present values. A receiver in `known` is recorded even if it is gone.
// Neither a number of events nor a size exceeds 2^53.
#[allow(clippy::cast_precision_loss)]
async fn measure(ledger: &Ledger, known: &mut BTreeSet<String>) -> Result<()> {
    const RECEIVERS: &str = "SELECT name, active FROM receivers ORDER BY name";
    let mut rows = ledger.read_all(vec![size(ledger), statement!(RECEIVERS)]).await?;
    let receivers = rows.pop().unwrap_or_default();
    if let Some(mut row) = rows.into_iter().flatten().next() {
        gauge!(LEDGER_SIZE).set(row.integer()? as f64);
    }
    for mut row in receivers {
        let (name, is_active) = (row.text()?, row.integer()? == 1);
        let backlog = backlog(ledger, &name).await?;
        if is_active || backlog.waiting + backlog.dead > 0 {
            known.insert(name.clone());
        } else if !known.contains(&name) {
            continue;
        }
        let gauge = |metric: &'static str| gauge!(metric, LABEL_RECEIVER => name.clone());
        gauge(EVENTS_WAITING).set(backlog.waiting as f64);
        gauge(EVENTS_DEAD).set(backlog.dead as f64);
        // Nothing sends the events of a receiver that is no longer configured, and nobody expects them.
        let age = if is_active { backlog.age } else { 0 };
        gauge(EVENTS_OLDEST_AGE).set(age as f64 / 1000.0);
    }
    Ok(())
}

/// Counts the events of `receiver`, in the index by due times. A number is higher than those of earlier events.
async fn backlog(ledger: &Ledger, receiver: &str) -> Result<Backlog> {
    const SQL: &str = "\
        SELECT b.waiting, \
            (SELECT count(*) FROM outbox d WHERE d.receiver = $1 AND d.due_at IS NULL), \
            COALESCE((SELECT o.recorded_at FROM outbox o WHERE o.seq = b.oldest), $2) \
        FROM (SELECT count(*) AS waiting, min(seq) AS oldest FROM outbox WHERE receiver = $1 AND due_at IS NOT NULL) AS b";
    let now = time::now();
    let rows = ledger.read(statement!(SQL, receiver, now)).await?;
    let row = rows.into_iter().next();
    row.map_or_else(
        || {
            Ok(Backlog {
                waiting: 0,
                dead: 0,
                age: 0,
            })
        },
        |mut row: Row| {
            Ok(Backlog {
                waiting: row.integer()?,
                dead: row.integer()?,
                age: now.saturating_sub(row.integer()?).max(0),
            })
        },
    )
}

/// Returns the statement for the size of the ledger in bytes.
fn size(ledger: &Ledger) -> Statement {
    match ledger.engine() {
        Engine::Sqlite => statement!("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
        #[cfg(feature = "postgres")]
        Engine::Postgres => statement!(
            "SELECT CAST(sum(pg_total_relation_size(c.oid)) AS BIGINT) FROM pg_class c \
            JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'kazoo_storage' AND c.relkind = 'r'"
        ),
    }
}
