//! The audit trail: its entries and its verification. [`trail`](super::trail) appends those about the operator.

use std::{fmt::Write as _, time::SystemTime};

use humantime::format_rfc3339_millis;
use kazoo_storage::BlobKey;
use kazoo_storage_ledger::{
    Ledger,
    audit::{Action, AuditSearch, AuditVerified, Audited},
};
use serde_json::{Value, json};

use super::{
    asked::{Answer, Asked},
    cursor, json,
    parameters::invalid,
    work,
};

pub(super) async fn list(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let parameters = &mut asked.parameters;
    let limit = parameters.limit()?;
    let mut search = AuditSearch::new();
    if let Some(since) = parameters.time("since")? {
        search = search.since(since);
    }
    if let Some(until) = parameters.time("until")? {
        search = search.until(until);
    }
    if let Some(name) = parameters.text("name") {
        search = search.name(&name);
    }
    if let Some(action) = parameters.text("action") {
        if !Action::ALL.iter().any(|known| known.as_str() == action) {
            return Err(invalid("action", "is unknown; see GET /v1/openapi.json"));
        }
        search = search.action(&action);
    }
    if let Some(key) = parameters.text("key") {
        search = search.key(&BlobKey::from_path(&key)?);
    }
    if let Some(account) = parameters.text("account") {
        search = search.account(&account);
    }
    if let Some((at, seq)) = cursor::take(parameters, position)? {
        search = search.after_position(at, seq);
    }
    parameters.end()?;
    let mut entries = ledger.audit(search, limit + 1).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let next = entries.last().filter(|_| has_more).map(next);
    let entries: Vec<_> = entries.iter().map(entry).collect();
    Ok(json::response(json!({"entries": entries, "next": next}).to_string()))
}

/// Returns the cursor of the page after `entry`.
fn next(entry: &Audited) -> String {
    format!("{}/{}", cursor::millis(entry.at), entry.seq)
}

fn position(cursor: &str) -> Option<(SystemTime, i64)> {
    let (millis, seq) = cursor.split_once('/')?;
    let at = cursor::time(millis)?;
    Some((at, seq.parse().ok()?))
}

pub(super) async fn verify(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let ledger = ledger.clone();
    work::response(&asked.call.state, |mut reporter| async move {
        let done = ledger.verify_audit(|done| reporter.report(|| verified(done))).await?;
        if let Some(fault) = done.fault {
            tracing::error!(seq = fault.seq(), fault = fault.as_str(), "the audit trail was changed");
        }
        Ok(verified(&done))
    })
    .await
}

fn verified(done: &AuditVerified) -> Value {
    json!({
        "entries": done.entries,
        "erased": done.erased,
        "anchor": done.anchor,
        "last": done.last,
        "hash": hex(&done.hash),
        "fault": done.fault.map(|fault| json!({"seq": fault.seq(), "kind": fault.as_str()})),
    })
}

/// Returns an entry as JSON, in the API and in the file of `--audit-file`.
pub(crate) fn entry(entry: &Audited) -> Value {
    json!({
        "seq": entry.seq,
        "time": format_rfc3339_millis(entry.at).to_string(),
        "name": entry.name,
        "address": entry.address,
        "action": entry.action,
        "outcome": entry.outcome,
        "key": entry.key.as_ref().map(ToString::to_string),
        "salt": entry.salt.as_deref().map(hex),
        "subject": entry.subject.as_deref().map(hex),
        "hash": hex(&entry.hash),
    })
}

/// Returns the hexadecimal digits of `bytes`, in lower case.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
