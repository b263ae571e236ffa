//! `events receivers` and `events receivers rm`.

use std::{process::ExitCode, time::SystemTime};

use http::Method;
use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient,
        values::{field, items, number, segment, texts},
    },
    confirmation::{UNCONFIRMED, is_confirmed},
    printable::{json_lines, print, print_lines},
    table::Table,
};

pub(super) async fn list(client: &AdminClient, json: bool) -> Result<ExitCode, String> {
    let shown = client.get("/v1/receivers").await?;
    let receivers = items(&shown, "receivers");
    if json {
        print_lines(&json_lines(receivers))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NAME", "KIND", "STATE", "WAITING", "DEAD", "OLDEST"]);
    for receiver in receivers {
        let mut row = texts(receiver, &["name", "kind", "state", "waiting", "dead"]);
        row.push(field(receiver, "oldest").as_str().map(age).unwrap_or_default());
        table.add(row);
    }
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn remove(client: &AdminClient, name: &str, yes: bool) -> Result<ExitCode, String> {
    let target = format!("/v1/receivers/{}", segment(name));
    let receiver = client.get(&target).await?;
    let (waiting, dead) = (number(&receiver, "waiting"), number(&receiver, "dead"));
    if waiting + dead > 0 && !yes {
        let shown = format!("{name} with {waiting} waiting and {dead} dead events");
        if !is_confirmed("Remove", &shown, "removed")? {
            return Ok(ExitCode::from(UNCONFIRMED));
        }
    }
    let done: Value = client.send(Method::DELETE, &target, None).await?.json().await?;
    print(&format!("{name} removed, with {} events", number(&done, "events")))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the time since `text`, in full seconds.
fn age(text: &str) -> String {
    let age = humantime::parse_rfc3339(text)
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok())
        .unwrap_or_default();
    humantime::format_duration(std::time::Duration::from_secs(age.as_secs())).to_string()
}
