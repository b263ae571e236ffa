//! The operations on holds.

use kazoo_storage::{BlobKey, Error, ErrorKind};
use kazoo_storage_ledger::{
    Ledger,
    audit::Action,
    holds::{AddedHold, Hold, NewHold},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    changes::Changes,
    json,
    parameters::{body, invalid, time},
    trail::{DONE, Trail},
};

/// The hold to add.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    reason: String,
    author: String,
    account: Option<String>,
    document: Option<String>,
    key: Option<String>,
    number: Option<String>,
    call_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

impl Request {
    fn hold(self) -> Result<NewHold, Error> {
        let mut hold = NewHold::new(self.reason, self.author);
        if let Some(account) = self.account {
            hold = hold.account(account);
        }
        if let Some(document) = self.document {
            hold = hold.document(document);
        }
        if let Some(key) = self.key {
            hold = hold.key(&BlobKey::from_path(&key)?);
        }
        if let Some(number) = self.number {
            hold = hold.number(number);
        }
        if let Some(call_id) = self.call_id {
            hold = hold.call_id(call_id);
        }
        if let Some(since) = self.since {
            hold = hold.since(time("since", &since)?);
        }
        if let Some(until) = self.until {
            hold = hold.until(time("until", &until)?);
        }
        Ok(hold)
    }
}

pub(super) async fn list(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let holds: Vec<_> = ledger.holds().await?.iter().map(json::hold).collect();
    Ok(json::response(json!({"holds": holds}).to_string()))
}

pub(super) async fn show(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let id = asked.parameters.captured();
    asked.parameters.end()?;
    let hold = ledger.hold(&id).await?.ok_or_else(|| unknown(&id))?;
    Ok(json::response(json::hold(&hold).to_string()))
}

pub(super) async fn add(ledger: &Ledger, changes: &Changes, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(ledger), &asked);
    let request = body::<Request>(asked.body).await?;
    let key = subject(
        request.key.as_deref(),
        request.account.as_deref(),
        request.document.as_deref(),
    );
    let hold = request.hold()?;
    let adding = {
        let ledger = ledger.clone();
        async move {
            let done = |added: &AddedHold| {
                let Hold { author, reason, .. } = &added.hold;
                Some(outcome(&added.hold, &format!("by {author}: {reason}")))
            };
            let adding = ledger.add_hold(hold);
            trail.run_with(Action::HoldAdd, key.as_ref(), None, adding, done).await
        }
    };
    let added = changes.run(adding).await?;
    // The conditions may contain a number.
    let Hold { id, author, .. } = &added.hold;
    let (removed, is_settled) = (added.removed.len(), added.is_settled);
    tracing::warn!(
        hold = id,
        author,
        removed,
        settled = is_settled,
        "the operator has added a hold"
    );
    let removed: Vec<_> = added.removed.iter().map(ToString::to_string).collect();
    let added = json!({
        "hold": json::hold(&added.hold),
        "removed": removed,
        "files": added.files,
        "settled": is_settled,
    });
    Ok(json::response(added.to_string()))
}

pub(super) async fn remove(ledger: &Ledger, changes: &Changes, mut asked: Asked<'_>) -> Answer {
    let id = asked.parameters.captured();
    let reason = asked.parameters.text("reason").unwrap_or_default();
    asked.parameters.end()?;
    if reason.trim().is_empty() {
        return Err(invalid("reason", "is required: the audit trail and the log record it"));
    }
    let trail = Trail::new(Some(ledger), &asked);
    let removal = {
        let (ledger, id, because) = (ledger.clone(), id.clone(), reason.clone());
        async move {
            let key = ledger.hold(&id).await?.and_then(|hold| {
                let key = hold.key.as_ref().map(ToString::to_string);
                subject(key.as_deref(), hold.account.as_deref(), hold.document.as_deref())
            });
            let removing = async {
                let removed = ledger.remove_hold(&id).await?;
                removed.ok_or_else(|| unknown(&id))
            };
            let done = |removed: &Hold| Some(outcome(removed, &format!("because: {because}")));
            trail
                .run_with(Action::HoldRemove, key.as_ref(), Some(&id), removing, done)
                .await
        }
    };
    let hold = changes.run(removal).await?;
    tracing::warn!(hold = id, reason, "the operator has removed a hold");
    Ok(json::response(json::hold(&hold).to_string()))
}

/// Returns the key that the audit trail has for a hold: that of its file, or else its account and document. An erasure erases it there.
fn subject(key: Option<&str>, account: Option<&str>, document: Option<&str>) -> Option<BlobKey> {
    match key {
        Some(key) => BlobKey::from_path(key).ok(),
        // A document without an account is refused.
        None => BlobKey::from_segments(std::iter::once(account?).chain(document)).ok(),
    }
}

/// Returns the outcome that the audit trail has for a hold. It names the conditions. An erasure cannot remove the outcome, so it has
/// only the values of those that identify nobody.
fn outcome(hold: &Hold, about: &str) -> String {
    let named = [
        ("key", hold.key.is_some()),
        ("account", hold.account.is_some()),
        ("document", hold.document.is_some()),
        ("number", hold.number.is_some()),
        ("call-id", hold.call_id.is_some()),
    ];
    let named = named.into_iter().filter(|(_, is_set)| *is_set);
    let times = [("since", hold.since), ("until", hold.until)];
    let times = times
        .into_iter()
        .filter_map(|(name, at)| Some(format!("{name}={}", json::time(at?))));
    let conditions: Vec<_> = named.map(|(name, _)| name.to_owned()).chain(times).collect();
    format!("{DONE}: {}; {}; {about}", hold.id, conditions.join(" "))
}

fn unknown(id: &str) -> Error {
    let message = format!("there is no hold `{id}`; `kazoo-storage hold list` lists them");
    Error::new(ErrorKind::NotFound, message)
}
