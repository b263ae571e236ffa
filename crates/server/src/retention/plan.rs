//! `retention plan`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    admin_client::{
        AdminClient, Listing, follow,
        values::{field, items, number, text, texts},
    },
    cli::{PlanRetentionOptions, Size},
    confirmation::UNCONFIRMED,
    policy_file,
    printable::{complain, json_lines, print, print_lines},
    table::Table,
};

/// Shows what the policy of the server deletes, or what another one would delete.
pub(super) async fn plan(client: &AdminClient, options: &PlanRetentionOptions) -> Result<ExitCode, String> {
    let preview = match &options.policy {
        None => None,
        Some(file) => match policy_file::read_with_text(file) {
            Ok((_, text)) => Some(json!({"policy": text})),
            Err(error) => {
                complain(&error);
                return Ok(ExitCode::from(UNCONFIRMED));
            }
        },
    };
    if options.files {
        files(client, preview, options.json).await
    } else {
        rules(client, preview, options.json).await
    }
}

/// Shows the number of files that each rule deletes.
async fn rules(client: &AdminClient, preview: Option<Value>, json: bool) -> Result<ExitCode, String> {
    let line = |done: &Value| format!("{} files", number(done, "files"));
    let is_preview = preview.is_some();
    let plan = follow(client, "/v1/retention/plan", preview, line, |_, _| Ok(false)).await?;
    let rules = items(&plan, "rules");
    if json {
        print_lines(&json_lines(rules))?;
    } else {
        print_lines(&table(rules).text(true))?;
    }
    let documents = number(&plan, "documents");
    if documents > 0 && !json {
        print(&format!(
            "the files of {documents} documents that KAZOO has deleted are due for removal"
        ))?;
    }
    if rules.is_empty() {
        let who = if is_preview { "the file" } else { "the server" };
        eprintln!("{who} has no retention rules, and deletes no file by its age; see --policy");
    }
    if let Some(reason) = field(field(&plan, "suspended"), "reason").as_str() {
        let suspended = field(&plan, "suspended");
        eprintln!(
            "retention is suspended: {reason}; the clock is {}, and {} was expected; correct it, or run `kazoo-storage retention \
             resume`",
            text(field(suspended, "clock")),
            text(field(suspended, "expected"))
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn table(rules: &[Value]) -> Table {
    let mut table = Table::new(&[
        "ACCOUNT", "KIND", "DAYS", "FLOOR", "FILES", "BYTES", "SIZE", "HELD", "OLDEST",
    ]);
    for planned in rules {
        let rule = field(planned, "rule");
        let or = |name: &str, absent: &str| match field(rule, name) {
            Value::Null => absent.to_owned(),
            value => text(value),
        };
        table.add(vec![
            or("account", "(all)"),
            or("kind", "(all)"),
            or("days", "never"),
            or("floor_days", "none"),
            text(field(planned, "files")),
            text(field(planned, "bytes")),
            Size(number(planned, "bytes")).to_string(),
            text(field(planned, "held")),
            text(field(planned, "oldest")),
        ]);
    }
    table
}

/// Lists the files that the rules delete.
async fn files(client: &AdminClient, preview: Option<Value>, json: bool) -> Result<ExitCode, String> {
    let listing = Listing {
        path: "/v1/retention/files",
        items: "files",
        parameters: Vec::new(),
        body: preview,
        limit: 0,
        json,
        headings: &["STORED", "KIND", "SIZE", "KEY", "REASON"],
        row: |file| texts(file, &["stored_at", "kind", "size", "key", "reason"]),
    };
    listing.print(client).await
}
