//! [`watch`]: records what waits in a ledger.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant, SystemTime},
};

use kazoo_storage::Result;
use metrics::gauge;
use tokio::time::{sleep, timeout};

use crate::{
    database::{Engine, Statement, statement},
    events::ReceiverState,
    ledger::Ledger,
    measure::names::{EVENTS_DEAD, EVENTS_OLDEST_AGE, EVENTS_WAITING, LABEL_RECEIVER, LEDGER_SIZE},
};

/// Time between two measurements.
const INTERVAL: Duration = Duration::from_secs(15);

/// Minimum ratio of the time between two measurements to the time of a measurement. Counting a million events
/// takes some tenths of a second.
const PAUSE: u32 = 50;

/// Time until the pause ends after [`Ledger::close`].
const POLL: Duration = Duration::from_secs(1);

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
// No size exceeds 2^53.
#[allow(clippy::cast_precision_loss)]
async fn measure(ledger: &Ledger, known: &mut BTreeSet<String>) -> Result<()> {
    if let Some(mut row) = ledger.read(size(ledger)).await?.into_iter().next() {
        gauge!(LEDGER_SIZE).set(row.integer()? as f64);
    }
    let mut removed = known.clone();
    for receiver in ledger.receivers().await? {
        removed.remove(&receiver.name);
        let is_registered = receiver.state != ReceiverState::Inactive;
        if is_registered || receiver.waiting + receiver.dead > 0 {
            known.insert(receiver.name.clone());
        } else if !known.contains(&receiver.name) {
            continue;
        }
        // Nothing sends the events of a receiver that is no longer configured, and nobody expects them.
        let oldest = receiver.oldest.filter(|_| is_registered);
        let age = oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
        record(&receiver.name, receiver.waiting, receiver.dead, age.unwrap_or_default());
    }
    for name in removed {
        record(&name, 0, 0, Duration::ZERO);
    }
    Ok(())
}

// No number of events exceeds 2^53.
#[allow(clippy::cast_precision_loss)]
fn record(receiver: &str, waiting: u64, dead: u64, age: Duration) {
    let gauge = |metric: &'static str| gauge!(metric, LABEL_RECEIVER => receiver.to_owned());
    gauge(EVENTS_WAITING).set(waiting as f64);
    gauge(EVENTS_DEAD).set(dead as f64);
    gauge(EVENTS_OLDEST_AGE).set(age.as_secs_f64());
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
