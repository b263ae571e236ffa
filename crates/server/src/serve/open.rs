//! Opens the store and the ledger, and starts what works with them.

use std::sync::Arc;

use kazoo_storage::store::{DynBlobCatalog, MeasuredStore};
use kazoo_storage_ledger::{Ledger, Recorded, delivery::Receivers, metrics};
use tokio::sync::watch;

use super::{
    Fallible,
    audit_file::AuditFile,
    deletion_webhook::{DeletionWebhook, Secret},
    deliveries::Deliveries,
    policy::{self, PolicyFile},
    service_manager,
};
use crate::{
    admin::Storage,
    config::Config,
    policy_file,
    shutdown::Phase,
    storage::{ledger, store},
};

/// The open store and ledger, and what works with them.
pub(super) struct Opened {
    pub(super) storage: Storage,
    pub(super) deliveries: Option<Arc<Deliveries>>,
    pub(super) audit_file: Option<Arc<AuditFile>>,
    pub(super) policy: Option<Arc<PolicyFile>>,
    pub(super) webhook: Option<DeletionWebhook>,
}

/// Opens the store and the ledger of `config`. The rest is the content of its files.
pub(super) async fn open(
    config: &Config,
    receivers: Option<Receivers>,
    policy: Option<policy_file::Content>,
    webhook_secret: Option<&Arc<Secret>>,
    phase: &watch::Receiver<Phase>,
) -> Fallible<Opened> {
    let opening = service_manager::opening("store");
    let files = store::open(&config.store).await?;
    drop(opening);
    let _opening = service_manager::opening("ledger");
    let ledger = ledger::open(config.ledger.as_ref()).await?;
    let deliveries = match (config.deliveries.clone(), receivers, &ledger) {
        // Before the first upload, so that it has receivers.
        (Some(file), Some(receivers), Some(ledger)) => {
            Some(Arc::new(Deliveries::start(file, receivers, ledger.clone()).await?))
        }
        _ => None,
    };
    let audit_file = AuditFile::start(config.audit_file.as_deref(), ledger.as_ref()).await?;
    let recorded = ledger
        .as_ref()
        .map(|ledger| Recorded::new(files.clone(), ledger.clone()));
    let catalog = match recorded.clone() {
        Some(recorded) => DynBlobCatalog::new(MeasuredStore::new(recorded)),
        None => DynBlobCatalog::new(MeasuredStore::new(files.clone())),
    };
    // Before the first upload, and before interrupted removals are finished.
    let policy = match (config.policy.clone(), policy, &ledger) {
        (Some(file), Some(content), Some(ledger)) => {
            let policy = PolicyFile::new(file, content, ledger.clone(), catalog.clone());
            Some(Arc::new(policy))
        }
        _ => None,
    };
    let catalog = policy.as_ref().map_or(catalog, |policy| policy.limited());
    let webhook = match (&config.deletion_webhook, webhook_secret, &ledger) {
        (Some(webhook), Some(secret), Some(ledger)) => {
            Some(DeletionWebhook::new(&webhook.path, Arc::clone(secret), ledger.clone()))
        }
        _ => None,
    };
    let contents = store::direct(&config.store, &files)?;
    if let (Some(ledger), Some(recorded)) = (&ledger, &recorded) {
        maintain(ledger, files, recorded.clone(), config.admin.is_some());
        if policy.is_some() || webhook.is_some() {
            tokio::spawn(policy::apply(recorded.clone(), policy.clone(), phase.clone()));
        }
    }
    Ok(Opened {
        storage: Storage {
            ledger,
            recorded,
            store: catalog,
            contents,
        },
        deliveries,
        audit_file,
        policy,
        webhook,
    })
}

/// Starts the tasks of `ledger`, which records the changes of `files`.
fn maintain(ledger: &Ledger, files: DynBlobCatalog, recorded: Recorded<DynBlobCatalog>, has_metrics: bool) {
    tokio::spawn(ledger::reindex(ledger.clone(), files));
    tokio::spawn(ledger.clone().keep_time());
    if has_metrics {
        tokio::spawn(metrics::watch(ledger.clone()));
    }
    tokio::spawn(ledger::finish_removals(recorded));
}
