//! [`Plan`]: what the policy would delete now.

use std::{sync::Arc, time::SystemTime};

use kazoo_storage::Result;

use crate::{
    clock::Suspension,
    ledger::Ledger,
    policy::{Policy, Rule},
};

/// The files that the policy would delete now, as numbers for each rule.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Each rule of the policy, in its order.
    pub rules: Vec<PlannedRule>,
    /// The number of documents that KAZOO has deleted and whose files are due.
    pub documents: u64,
    /// The reason why nothing is deleted at present, if there is one.
    pub suspension: Option<Suspension>,
}

/// The files that a rule deletes now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlannedRule {
    /// The rule.
    pub rule: Rule,
    /// The number of files.
    pub files: u64,
    /// Their total length, in bytes.
    pub bytes: u64,
    /// The number of further files that a hold keeps.
    pub held: u64,
    /// The time at which the oldest of the files was stored.
    pub oldest: Option<SystemTime>,
}

impl Ledger {
    /// Counts the files that are due, and calls `progress` with the number so far. Memory is bounded.
    pub async fn plan(&self, progress: impl FnMut(u64)) -> Result<Plan> {
        self.plan_with(self.policy(), progress).await
    }

    /// Counts the files that would be due if `policy` were set, as [`plan`](Self::plan) does. Nothing changes.
    pub async fn plan_with(&self, policy: impl Into<Arc<Policy>>, mut progress: impl FnMut(u64)) -> Result<Plan> {
        let mut due = self.files_due_with(policy, None);
        let planned = |rule: &Rule| PlannedRule {
            rule: rule.clone(),
            files: 0,
            bytes: 0,
            held: 0,
            oldest: None,
        };
        let mut rules: Vec<_> = due.policy().rules().iter().map(planned).collect();
        let mut counted = 0;
        loop {
            let files = due.next().await?;
            if files.is_empty() {
                break;
            }
            counted += files.len() as u64;
            for due in files {
                let Some(rule) = rules.get_mut(due.rule) else { continue };
                if due.hold.is_some() {
                    rule.held += 1;
                    continue;
                }
                rule.files += 1;
                rule.bytes += due.file.size;
                rule.oldest.get_or_insert(due.file.stored_at);
            }
            progress(counted);
        }
        Ok(Plan {
            rules,
            documents: self.count_due_documents(self.now()).await?,
            suspension: self.suspension(),
        })
    }
}
