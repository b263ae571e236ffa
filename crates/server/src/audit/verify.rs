//! `audit verify`.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, number, text},
    },
    printable::{print, print_json},
};

pub(super) async fn trail(client: &AdminClient, json: bool) -> Result<ExitCode, String> {
    let line = |value: &Value| format!("{} entries verified", number(value, "entries"));
    let done = follow(client, "/v1/audit/verify", None, line, |_, _| Ok(false)).await?;
    let fault = field(&done, "fault");
    if json {
        print_json(&done.to_string())?;
    } else {
        print(&summary(&done))?;
        if !fault.is_null() {
            print(&format!("entry {} {}", number(fault, "seq"), meaning(fault)))?;
        }
    }
    Ok(if fault.is_null() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn summary(done: &Value) -> String {
    let count = |name| number(done, name);
    format!(
        "{} entries verified, {} of them without their key; last: {} with the hash {}",
        count("entries"),
        count("erased"),
        count("last"),
        text(field(done, "hash"))
    )
}

fn meaning(fault: &Value) -> &'static str {
    match field(fault, "kind").as_str() {
        Some("missing") => "is missing: it was removed",
        Some("other_key") => "has another key than the one that was recorded",
        Some("behind_end") => "is behind the recorded end of the trail: it was inserted",
        _ => "was changed, moved or inserted",
    }
}
