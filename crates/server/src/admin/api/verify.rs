//! The comparison of the store with the ledger.

use kazoo_storage_ledger::{
    audit::Action,
    verify::{Content, Difference, Verified, Verify},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    asked::{Answer, Asked},
    parameters::body,
    storage::Storage,
    trail::Trail,
    work,
};

/// The body of a request for a verification.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyRequest {
    #[serde(default)]
    content: bool,
    #[serde(default)]
    repair: bool,
}

/// Compares the files of the store with those of the ledger.
pub(super) async fn files(storage: &Storage, asked: Asked<'_>) -> Answer {
    asked.parameters.end()?;
    let trail = Trail::new(Some(storage.ledger()?), &asked);
    let VerifyRequest { content, repair } = body(asked.body).await?;
    let mut options = Verify::new().repair(repair);
    if content {
        options = options.contents(storage.contents.clone());
    }
    let recorded = storage.recorded()?.clone();
    work::response(&asked.call.state, move |reporter| async move {
        let mut progress = reporter.clone();
        let found = |difference: Difference| reporter.send(json!({"difference": shown(&difference)}));
        let verifying = recorded.verify(options, found, |done| progress.report(|| totals(done)));
        let done = if repair {
            trail.run(Action::Repair, None, verifying).await?
        } else {
            verifying.await?
        };
        let Verified {
            differences, repaired, ..
        } = done;
        tracing::info!(
            content,
            repair,
            differences,
            repaired,
            "the operator has compared the store with the ledger"
        );
        Ok(totals(done))
    })
    .await
}

fn totals(done: Verified) -> Value {
    json!({
        "listed": done.listed,
        "recorded": done.recorded,
        "compared": done.compared,
        "bytes": done.bytes,
        "differences": done.differences,
        "repaired": done.repaired,
    })
}

fn shown(difference: &Difference) -> Value {
    let content =
        |content: Content| json!({"size": content.size, "sha256": content.sha256.map(|digest| digest.to_string())});
    json!({
        "key": difference.key.to_string(),
        "kind": difference.kind.as_str(),
        "stored": difference.stored.map(content),
        "recorded": difference.recorded.map(content),
        "error": difference.error.as_ref().map(ToString::to_string),
        "repaired": difference.repaired,
    })
}
