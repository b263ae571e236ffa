//! The usage of the accounts.

use kazoo_storage_ledger::Ledger;
use serde_json::json;

use super::{
    asked::{Answer, Asked},
    json,
};

pub(super) async fn list(ledger: &Ledger, mut asked: Asked<'_>) -> Answer {
    let account = asked.parameters.text("account");
    asked.parameters.end()?;
    let usage = ledger.usage(account.as_deref()).await?;
    let accounts: Vec<_> = usage
        .iter()
        .map(|usage| json!({"account": usage.account, "files": usage.files, "bytes": usage.bytes}))
        .collect();
    Ok(json::response(json!({"accounts": accounts}).to_string()))
}
