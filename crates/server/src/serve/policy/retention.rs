//! [`apply`]: removes what the policy deletes, from time to time.

use std::{future, sync::Arc, time::Duration};

use kazoo_storage::store::DynBlobCatalog;
use kazoo_storage_ledger::{Recorded, retention::Retained};
use tokio::{select, sync::watch, time::sleep};

use super::{PolicyFile, pruning::Pruning};
use crate::{log, shutdown::Phase};

/// Interval between two runs.
const INTERVAL: Duration = Duration::from_secs(3600);

/// Interval while retention is suspended. The operator expects that it continues soon after the clock is confirmed.
const SUSPENDED: Duration = Duration::from_secs(60);

/// Removes expired files at startup, every hour and after each reload of `policy`, until the server stops.
pub(in crate::serve) async fn apply(
    store: Recorded<DynBlobCatalog>,
    policy: Option<Arc<PolicyFile>>,
    mut phase: watch::Receiver<Phase>,
) {
    let runs = async {
        let mut pruning = policy.map(Pruning::new);
        loop {
            let interval = run(&store).await;
            if let Some(pruning) = &mut pruning {
                pruning.run().await;
            }
            let reloaded = async {
                match &mut pruning {
                    Some(pruning) => pruning.reloaded().await,
                    None => future::pending().await,
                }
            };
            select! {
                () = sleep(interval) => {}
                () = reloaded => {}
            }
        }
    };
    // A removal that is interrupted is finished after the next start.
    select! {
        _ = phase.wait_for(|phase| *phase != Phase::Serving) => {}
        () = runs => {}
    }
}

/// Removes the files that have expired. Returns the time until the next run.
async fn run(store: &Recorded<DynBlobCatalog>) -> Duration {
    let retained = match store.retain().await {
        Ok(retained) => retained,
        Err(error) => {
            tracing::error!(
                error = log::chain(&error),
                "retention failed; it is tried again in an hour"
            );
            return INTERVAL;
        }
    };
    let Retained {
        removed,
        bytes,
        kept,
        failed,
        ..
    } = retained;
    match &retained.error {
        Some(error) => tracing::error!(
            removed,
            bytes,
            kept,
            failed,
            error = log::redact::message(&log::chain(error), true),
            "retention could not remove all files; they are tried again in an hour"
        ),
        None if removed > 0 => tracing::info!(removed, bytes, kept, "retention has removed files"),
        None => tracing::debug!(kept, "nothing is due"),
    }
    if retained.suspension.is_some() {
        return SUSPENDED;
    }
    INTERVAL
}
