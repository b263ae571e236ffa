//! The operations on retention.

use std::sync::Arc;

use hyper::body::Incoming;
use kazoo_storage::{BlobKey, Error, ErrorKind};
use kazoo_storage_ledger::{
    Ledger, Suspension,
    audit::Action,
    policy::{Policy, Rule},
    retention::{DeletionRequest, DueFile, Plan, Position},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    asked::{Answer, Asked},
    changes::Changes,
    cursor, json,
    parameters::{body_of, invalid},
    trail::Trail,
    work,
};
use crate::policy_file;

/// Maximum length of the body with a policy, in bytes.
const MAX_POLICY: usize = 256 << 10;

/// The rules by which files are due.
#[derive(Clone, Copy)]
pub(super) enum Rules {
    /// Those of the server's policy.
    InForce,
    /// Those in the body of the request.
    Sent,
}

/// A policy that is not in force.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preview {
    /// The text of its file.
    policy: String,
}

impl Rules {
    async fn policy(self, ledger: &Ledger, body: Incoming) -> Result<Arc<Policy>, Error> {
        match self {
            Self::InForce => Ok(ledger.policy()),
            Self::Sent => {
                let Preview { policy } = body_of(MAX_POLICY, body).await?;
                let content = policy_file::parse(&policy);
                let content =
                    content.map_err(|fault| Error::new(ErrorKind::InvalidRequest, fault.named("`policy`")))?;
                Ok(content.retention.into())
            }
        }
    }
}

/// Counts the files that are due.
pub(super) async fn plan(ledger: &Ledger, rules: Rules, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let policy = rules.policy(ledger, asked.body).await?;
    let ledger = ledger.clone();
    work::response(&asked.call.state, |mut reporter| async move {
        let progress = |files| reporter.report(|| json!({"files": files}));
        let plan = ledger.plan_with(policy, progress).await?;
        Ok(planned(&plan))
    })
    .await
}

fn planned(plan: &Plan) -> Value {
    let rules: Vec<_> = plan
        .rules
        .iter()
        .map(|planned| {
            json!({
                "rule": rule(&planned.rule),
                "files": planned.files,
                "bytes": planned.bytes,
                "held": planned.held,
                "oldest": planned.oldest.map(json::time),
            })
        })
        .collect();
    json!({
        "rules": rules,
        "documents": plan.documents,
        "suspended": plan.suspension.as_ref().map(suspension),
    })
}

fn rule(rule: &Rule) -> Value {
    json!({
        "account": rule.account_id(),
        "kind": rule.kind_name(),
        "days": rule.deletes_after(),
        "floor_days": rule.protects_for(),
    })
}

fn suspension(suspension: &Suspension) -> Value {
    json!({
        "fault": suspension.fault.as_str(),
        "reason": suspension.to_string(),
        "clock": json::time(suspension.clock),
        "expected": json::time(suspension.expected),
    })
}

/// Lists the files that are due.
pub(super) async fn due(ledger: &Ledger, rules: Rules, mut asked: Asked<'_>) -> Answer {
    let limit = asked.parameters.limit()?;
    let after = cursor::take(&mut asked.parameters, position)?;
    asked.parameters.end()?;
    let policy = rules.policy(ledger, asked.body).await?;
    let mut due = ledger.files_due_with(policy, after);
    let mut found = Vec::new();
    while found.len() <= limit {
        let files = due.next().await?;
        if files.is_empty() {
            break;
        }
        found.extend(files);
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|due| {
        let file = &due.file;
        format!("{}/{}/{}", due.rule, cursor::millis(file.stored_at), file.key)
    });
    let files: Vec<_> = found.iter().map(|file| due_file(file, due.policy())).collect();
    Ok(json::response(json!({"files": files, "next": next}).to_string()))
}

fn due_file(due: &DueFile, policy: &Policy) -> Value {
    let rule = policy.rules().get(due.rule).map(ToString::to_string);
    let reason = match &due.hold {
        Some(hold) => format!("held by the hold {hold}"),
        None => rule.unwrap_or_default(),
    };
    let mut value = json::file(&due.file, false);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("hold".to_owned(), json!(due.hold));
        fields.insert("reason".to_owned(), json!(reason));
    }
    value
}

fn position(cursor: &str) -> Option<Position> {
    let mut parts = cursor.splitn(3, '/');
    let rule = parts.next()?.parse().ok()?;
    let stored_at = cursor::time(parts.next()?)?;
    Some(Position::new(rule, stored_at, BlobKey::from_path(parts.next()?).ok()?))
}

/// Ends a suspension.
pub(super) async fn resume(ledger: &Ledger, changes: &Changes, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let before = ledger.suspension();
    let confirming = {
        let ledger = ledger.clone();
        async move { trail.run(Action::RetentionResume, None, ledger.confirm_time()).await }
    };
    changes.run(confirming).await?;
    if let Some(before) = &before {
        tracing::warn!(
            fault = before.fault.as_str(),
            "the operator has confirmed the clock, and retention continues"
        );
    }
    let body = json!({"suspended": before.as_ref().map(suspension), "clock": json::time(ledger.now())});
    Ok(json::response(body.to_string()))
}

/// Lists the requests for deletion.
pub(super) async fn requests(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let limit = asked.parameters.limit()?;
    let after = cursor::take(&mut asked.parameters, |cursor| {
        let mut parts = cursor.splitn(3, '/');
        let due_at = cursor::time(parts.next()?)?;
        Some(DeletionRequest::after(due_at, parts.next()?, parts.next()?))
    })?;
    asked.parameters.end()?;
    let mut requests = ledger.deletion_requests(after.as_ref(), limit + 1).await?;
    let has_more = requests.len() > limit;
    requests.truncate(limit);
    let next = requests.last().filter(|_| has_more).map(|request| {
        let due_at = cursor::millis(request.due_at);
        format!("{due_at}/{}/{}", request.account, request.document)
    });
    let requests: Vec<_> = requests
        .iter()
        .map(|request| {
            json!({
                "account": request.account,
                "document": request.document,
                "type": request.kind,
                "requested_at": json::time(request.requested_at),
                "due_at": json::time(request.due_at),
            })
        })
        .collect();
    Ok(json::response(json!({"requests": requests, "next": next}).to_string()))
}

/// Cancels a request for deletion.
pub(super) async fn cancel(ledger: &Ledger, changes: &Changes, mut asked: Asked<'_>) -> Answer {
    let mut required = |name: &str| {
        let value = asked.parameters.text(name);
        value.ok_or_else(|| invalid(name, "is required"))
    };
    let (account, document) = (required("account")?, required("document")?);
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let cancel = {
        let (ledger, account, document) = (ledger.clone(), account.clone(), document.clone());
        async move {
            let cancelling = async {
                if ledger.cancel_deletion(&account, &document).await? {
                    return Ok(());
                }
                let message =
                    "no deletion of this document is requested; `kazoo-storage retention requests list` lists them";
                Err(Error::new(ErrorKind::NotFound, message))
            };
            // Without the document: an erasure removes the request, and could not remove it from the trail.
            trail.run(Action::RequestCancel, None, cancelling).await
        }
    };
    changes.run(cancel).await?;
    tracing::warn!(account, "the operator has cancelled the deletion of a document");
    let body = json!({"account": account, "document": document});
    Ok(json::response(body.to_string()))
}
