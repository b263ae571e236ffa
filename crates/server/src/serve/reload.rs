//! SIGHUP: reloads the access rules, the certificate, the receivers of events, the policy, and the secrets of the operator and of
//! KAZOO's webhook.

use std::sync::Arc;

use kazoo_storage::authorize::SharedAccessRules;
use tokio::{signal::unix::Signal, task::spawn_blocking};

use super::{
    access, audit_file::AuditFile, deletion_webhook::Secret, deliveries::Deliveries, mount::Mount, policy::PolicyFile,
    service_manager,
};
use crate::{admin::Token, config::Access, net::tls::Tls};

/// The parts of the server that come from files.
pub(super) struct Reloadable {
    pub(super) access: Access,
    pub(super) rules: Option<SharedAccessRules>,
    pub(super) mount: Mount,
    pub(super) tls: Option<Tls>,
    pub(super) deliveries: Option<Arc<Deliveries>>,
    pub(super) audit_file: Option<Arc<AuditFile>>,
    pub(super) policy: Option<Arc<PolicyFile>>,
    pub(super) webhook_secret: Option<Arc<Secret>>,
    pub(super) admin_token: Option<Arc<Token>>,
}

impl Reloadable {
    /// Reloads the files on each of `hangups`. Requests in progress are not affected, and an invalid file changes nothing.
    pub(super) async fn reload_on(self, mut hangups: Signal) {
        let this = Arc::new(self);
        while hangups.recv().await.is_some() {
            service_manager::reloading();
            let files = Arc::clone(&this);
            // Reading may block for long; the runtime serves requests meanwhile.
            if let Err(error) = spawn_blocking(move || files.reload()).await {
                tracing::error!(%error, "reload failed");
            }
            if let Some(deliveries) = &this.deliveries {
                log("deliveries", deliveries.reload().await);
            }
            if let Some(policy) = &this.policy {
                log("policy", policy.reload().await);
            }
            service_manager::ready();
        }
    }

    fn reload(&self) {
        let is_set = [
            self.rules.is_some(),
            self.tls.is_some(),
            self.deliveries.is_some(),
            self.policy.is_some(),
            self.webhook_secret.is_some(),
            self.audit_file.is_some(),
            self.admin_token.is_some(),
        ];
        if !is_set.contains(&true) {
            tracing::info!(
                "nothing to reload: none of --access, --tls-cert, --deliveries, --policy, --deletion-webhook-secret-file, \
                 --audit-file and --admin-token-file is set"
            );
        }
        if let Some(file) = &self.audit_file {
            file.reopen();
        }
        if let Some(secret) = &self.webhook_secret {
            log("webhook secret", secret.reload());
        }
        if let Some(token) = &self.admin_token {
            log("admin token", token.reload());
        }
        if let Some(rules) = &self.rules {
            log("access rules", access::reload(&self.access, rules, &self.mount));
        }
        if let Some(tls) = &self.tls {
            log("certificate", tls.reload());
        }
    }
}

fn log(subject: &str, reloaded: Result<(), String>) {
    match reloaded {
        Ok(()) => tracing::info!(subject, "reloaded"),
        Err(error) => tracing::error!(subject, error, "reload failed; the previous version stays in use"),
    }
}
