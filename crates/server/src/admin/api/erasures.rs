//! The erasure of the files of an account or of a number.

use kazoo_storage::{Error, ErrorKind};
use kazoo_storage_ledger::{
    audit::Action,
    protection::Protection,
    removal::{Erased, Kept, Subject},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    asked::{Answer, Asked},
    changes::Changes,
    json,
    parameters::body,
    storage::Storage,
    trail::Trail,
    work,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    account: Option<String>,
    number: Option<String>,
    #[serde(default)]
    confirm: bool,
}

/// Erases files, a line for each, or shows those that would be erased.
pub(super) async fn run(storage: &Storage, changes: &Changes, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(storage.ledger()?), &asked);
    let state = &asked.call.state;
    let request: Request = body(asked.body).await?;
    let (name, subject) = match (request.account, request.number) {
        (Some(account), None) => ("account", Subject::Account(account)),
        (None, Some(number)) => ("number", Subject::Number(number)),
        _ => {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "set either `account` or `number`",
            ));
        }
    };
    let confirm = request.confirm;
    let mut erasure = storage.recorded()?.erasure(subject, !confirm).await?;
    let changes = changes.clone();
    work::response(state, move |reporter| async move {
        let erasing = async move {
            let mut totals = Totals::default();
            loop {
                // A batch ends also if the client is gone, and the next does not begin.
                let next = async move { erasure.next().await.map(|batch| (erasure, batch)) };
                let (rest, batch) = changes.run(next).await?;
                erasure = rest;
                let Some(batch) = batch else { break };
                for erased in batch {
                    totals.count(&erased);
                    reporter.line(line(&erased)).await;
                }
            }
            Ok(totals)
        };
        if !confirm {
            return Ok(erasing.await?.json());
        }
        // Without the number: the trail is to keep nothing that is erased.
        let about = format!("by {name}");
        let totals = trail.run(Action::Erase, Some(&about), erasing).await?;
        let (files, kept) = (totals.files, totals.kept());
        tracing::warn!(by = name, files, kept, "the operator has erased files");
        Ok(totals.json())
    })
    .await
}

#[derive(Default)]
struct Totals {
    files: u64,
    bytes: u64,
    held: u64,
    floor: u64,
    failed: u64,
}

impl Totals {
    fn count(&mut self, erased: &Erased) {
        match &erased.kept {
            None => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(erased.file.size);
            }
            Some(Kept::Protected(Protection::Hold { .. })) => self.held += 1,
            Some(Kept::Protected(_)) => self.floor += 1,
            Some(_) => self.failed += 1,
        }
    }

    fn kept(&self) -> u64 {
        self.held + self.floor + self.failed
    }

    fn json(&self) -> Value {
        json!({
            "files": self.files,
            "bytes": self.bytes,
            "kept": self.kept(),
            "held": self.held,
            "floor": self.floor,
            "failed": self.failed,
        })
    }
}

fn line(erased: &Erased) -> Value {
    json!({
        "key": erased.file.key.to_string(),
        "size": erased.file.size,
        "sha256": erased.file.sha256.map(|digest| digest.to_string()),
        "stored_at": json::time(erased.file.stored_at),
        "removed_at": erased.removed_at.map(json::time),
        "kept_because": erased.kept.as_ref().map(ToString::to_string),
    })
}
