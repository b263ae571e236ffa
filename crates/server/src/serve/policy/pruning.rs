//! [`Pruning`]: removes old entries of the audit trail once a day.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{DAY, PolicyFile};
use crate::log;

/// Removes the entries of the audit trail that a policy does not keep any longer.
pub(super) struct Pruning {
    policy: Arc<PolicyFile>,
    /// The time of the next removal.
    next: Instant,
}

impl Pruning {
    pub(super) fn new(policy: Arc<PolicyFile>) -> Self {
        let next = Instant::now();
        Self { policy, next }
    }

    /// Waits until the policy is reloaded. The next removal is then due.
    pub(super) async fn reloaded(&mut self) {
        self.policy.reloaded.notified().await;
        self.next = Instant::now();
    }

    /// Removes old entries if that is due. While a clock is wrong, or after an error, it stays due.
    pub(super) async fn run(&mut self) {
        let PolicyFile { ledger, .. } = &*self.policy;
        let Some(days) = self.policy.audit_days() else { return };
        if Instant::now() < self.next || ledger.suspension().is_some() {
            return;
        }
        let keep = Duration::from_secs(u64::from(days) * DAY);
        let Some(before) = ledger.now().checked_sub(keep) else {
            return;
        };
        match ledger.prune_audit(before).await {
            Ok(entries) => {
                self.next = Instant::now() + Duration::from_secs(DAY);
                if entries > 0 {
                    tracing::info!(entries, days, "old entries of the audit trail have been removed");
                }
            }
            Err(error) => tracing::error!(
                error = log::chain(&error),
                "the old entries of the audit trail could not be removed; it is tried again in an hour"
            ),
        }
    }
}
