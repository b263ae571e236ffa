//! The operations on receivers.

use kazoo_storage::{Error, ErrorKind};
use kazoo_storage_ledger::{
    Ledger,
    audit::Action,
    events::{ReceiverKind, ReceiverState, ReceiverStatus},
};
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    changes::Changes,
    json,
    trail::Trail,
};

pub(super) async fn list(ledger: &Ledger, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let receivers = ledger.receivers().await?;
    let receivers: Vec<_> = receivers.iter().map(json::receiver).collect();
    Ok(json::response(json!({"receivers": receivers}).to_string()))
}

pub(super) async fn show(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let name = asked.parameters.captured();
    asked.parameters.end()?;
    let receiver = ledger.receiver(&name).await?.ok_or_else(|| unknown(&name))?;
    Ok(json::response(json::receiver(&receiver).to_string()))
}

/// Removes a receiver. `delivers` tells that this server has a file of `--deliveries`.
pub(super) async fn remove(ledger: &Ledger, changes: &Changes, delivers: bool, mut asked: Asked<'_>) -> Answer {
    let name = asked.parameters.captured();
    asked.parameters.end()?;
    let receiver = ledger.receiver(&name).await?;
    // It would get nothing from now on, although it is configured.
    let is_configured = |receiver: ReceiverStatus| {
        receiver.kind() != ReceiverKind::Consumer && receiver.state != ReceiverState::Inactive
    };
    if delivers && receiver.is_some_and(is_configured) {
        let message = format!("`{name}` is in the file of --deliveries; remove it there, send SIGHUP, and try again");
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let removal = {
        let (ledger, name) = (ledger.clone(), name.clone());
        let trail = Trail::new(Some(&ledger), &asked);
        async move {
            let removing = async {
                let removed = ledger.remove_receiver(&name).await?;
                removed.ok_or_else(|| unknown(&name))
            };
            trail.run(Action::ReceiverRemove, Some(&name), removing).await
        }
    };
    let events = changes.run(removal).await?;
    tracing::warn!(
        receiver = name,
        events,
        "the operator has removed a receiver and its events"
    );
    Ok(json::response(json!({"events": events}).to_string()))
}

/// Fails if there is no receiver `name`: a wrong name must not look like a receiver that has everything.
pub(super) async fn known(ledger: &Ledger, name: &str) -> Result<(), Error> {
    let found = ledger.receiver(name).await?;
    found.map(drop).ok_or_else(|| unknown(name))
}

pub(super) fn unknown(name: &str) -> Error {
    let message = format!(
        "there is no receiver `{name}`; `kazoo-storage events receivers` lists them, a webhook as `webhook:NAME`"
    );
    Error::new(ErrorKind::NotFound, message)
}
