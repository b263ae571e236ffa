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
    let hold = body::<Request>(asked.body).await?.hold()?;
    let adding = {
        let ledger = ledger.clone();
        async move {
            let done = |added: &AddedHold| Some(format!("{DONE}: {}", added.hold.id));
            let adding = ledger.add_hold(hold);
            trail.run_with(Action::HoldAdd, None, None, adding, done).await
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
    let added = json!({"hold": json::hold(&added.hold), "removed": removed, "settled": is_settled});
    Ok(json::response(added.to_string()))
}

pub(super) async fn remove(ledger: &Ledger, changes: &Changes, mut asked: Asked<'_>) -> Answer {
    let id = asked.parameters.captured();
    let reason = asked.parameters.text("reason").unwrap_or_default();
    asked.parameters.end()?;
    if reason.trim().is_empty() {
        return Err(invalid("reason", "is required: the log records it"));
    }
    let trail = Trail::new(Some(ledger), &asked);
    let removal = {
        let (ledger, id) = (ledger.clone(), id.clone());
        async move {
            let removing = async {
                let removed = ledger.remove_hold(&id).await?;
                removed.ok_or_else(|| unknown(&id))
            };
            trail.run(Action::HoldRemove, Some(&id), removing).await
        }
    };
    let hold = changes.run(removal).await?;
    tracing::warn!(hold = id, reason, "the operator has removed a hold");
    Ok(json::response(json::hold(&hold).to_string()))
}

fn unknown(id: &str) -> Error {
    let message = format!("there is no hold `{id}`; `kazoo-storage hold list` lists them");
    Error::new(ErrorKind::NotFound, message)
}
