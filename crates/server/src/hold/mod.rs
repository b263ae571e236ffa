//! The `hold` command: keeps files of a running server.

use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use crate::{
    admin_client::{
        self, AdminClient,
        values::{field, items, query, segment, text, time},
    },
    cli::{AddHoldOptions, HoldAction, HoldOptions},
    printable::{complain, json_lines, print, print_json, print_lines},
    table::Table,
};

/// The number of files at which the server stops to count.
const MAX_COUNT: u64 = 1000;

/// The conditions of a hold in the API, and the name of each in a table.
const CONDITIONS: [(&str, &str); 7] = [
    ("account", "account"),
    ("document", "document"),
    ("key", "key"),
    ("number", "number"),
    ("call_id", "call-id"),
    ("since", "since"),
    ("until", "until"),
];

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: HoldOptions) -> ExitCode {
    admin_client::run(act(options))
}

async fn act(options: HoldOptions) -> Result<ExitCode, String> {
    let client = AdminClient::new(options.server)?;
    match options.action {
        HoldAction::Add(hold) => add(&client, hold).await,
        HoldAction::List { json } => list(&client, json).await,
        HoldAction::Rm { id, reason } => remove(&client, &id, reason).await,
    }
}

async fn add(client: &AdminClient, options: AddHoldOptions) -> Result<ExitCode, String> {
    let conditions = options.conditions;
    let request = json!({
        "reason": options.reason,
        "author": options.author,
        "account": conditions.account,
        "document": conditions.document,
        "key": options.key,
        "number": conditions.number,
        "call_id": conditions.call_id,
        "since": conditions.since.map(time),
        "until": conditions.until.map(time),
    });
    let added: Value = client
        .send(Method::POST, "/v1/holds", Some(request))
        .await?
        .json()
        .await?;
    if options.json {
        print_json(&added.to_string())?;
    } else {
        let (id, files) = (
            text(field(field(&added, "hold"), "id")),
            field(&added, "files").as_u64(),
        );
        let protected = files.map_or_else(String::new, |files| format!(": it protects {}", protected(files)));
        print(&format!("{id} added{protected}"))?;
        if files == Some(0) {
            complain(
                "no file in the ledger satisfies the conditions: check them; files that are stored later and satisfy them are protected",
            );
        }
    }
    for key in items(&added, "removed") {
        complain(&format!("{} was removed before the hold", text(key)));
    }
    if *field(&added, "settled") == Value::Bool(true) {
        return Ok(ExitCode::SUCCESS);
    }
    complain(
        "the hold is added, but a removal or an upload that began before it has not ended: it may still remove or replace a file",
    );
    Ok(ExitCode::FAILURE)
}

/// Returns the number of the files that a hold protects.
fn protected(files: u64) -> String {
    match files {
        0 => "no file yet".to_owned(),
        1 => "1 file".to_owned(),
        MAX_COUNT.. => format!("{MAX_COUNT} or more files"),
        files => format!("{files} files"),
    }
}

async fn list(client: &AdminClient, json: bool) -> Result<ExitCode, String> {
    let answer = client.get("/v1/holds").await?;
    let holds = items(&answer, "holds");
    if json {
        print_lines(&json_lines(holds))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["ID", "SINCE", "AUTHOR", "CONDITIONS", "REASON"]);
    for hold in holds {
        let cell = |name| text(field(hold, name));
        table.add(vec![
            cell("id"),
            cell("created_at"),
            cell("author"),
            conditions(hold),
            cell("reason"),
        ]);
    }
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the conditions of `hold` in one line.
fn conditions(hold: &Value) -> String {
    let set = CONDITIONS.iter().filter_map(|(name, shown)| {
        let value = field(hold, name);
        (!value.is_null()).then(|| format!("{shown}={}", text(value)))
    });
    set.collect::<Vec<_>>().join(" ")
}

async fn remove(client: &AdminClient, id: &str, reason: String) -> Result<ExitCode, String> {
    let target = format!("/v1/holds/{}?{}", segment(id), query(&[("reason", Some(reason))]));
    let removed = client.send(Method::DELETE, &target, None).await?;
    removed.json::<Value>().await?;
    print(&format!("{id} removed"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_many_files_a_hold_protects() {
        for (files, expected) in [
            (0, "no file yet"),
            (1, "1 file"),
            (999, "999 files"),
            (1000, "1000 or more files"),
        ] {
            assert_eq!(protected(files), expected);
        }
    }
}
