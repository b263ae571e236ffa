//! `files list`.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient,
        values::{field, items, query, text, time},
    },
    cli::{FileSelection, ListFilesOptions},
    printable::{json_lines, print_lines},
    table::Table,
};

/// Number of files that are fetched at once: a table has this many lines of one width.
const PAGE: u64 = 500;

pub(super) async fn files(client: &AdminClient, options: &ListFilesOptions) -> Result<ExitCode, String> {
    let mut left = if options.limit == 0 { u64::MAX } else { options.limit };
    let (mut cursor, mut is_first) = (None, true);
    loop {
        let mut parameters = parameters(&options.selection);
        parameters.extend([("limit", Some(left.min(PAGE).to_string())), ("cursor", cursor)]);
        let parameters = query(&parameters);
        let page = client.get(&format!("/v1/files?{parameters}")).await?;
        let files = items(&page, "files");
        let lines = if options.json {
            json_lines(files)
        } else {
            let mut table = table();
            for file in files {
                table.add(row(file));
            }
            table.text(is_first)
        };
        if !print_lines(&lines)? {
            break;
        }
        left -= left.min(files.len() as u64);
        cursor = field(&page, "next").as_str().map(str::to_owned);
        is_first = false;
        if cursor.is_none() {
            break;
        }
        if left == 0 {
            eprintln!("there are more files: raise --limit");
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the parameters of a search for the files of `selection`.
pub(super) fn parameters(selection: &FileSelection) -> Vec<(&'static str, Option<String>)> {
    let conditions = &selection.conditions;
    vec![
        ("account", conditions.account.clone()),
        ("document", conditions.document.clone()),
        ("kind", selection.kind.map(|kind| kind.name().to_owned())),
        ("since", conditions.since.map(time)),
        ("until", conditions.until.map(time)),
        ("number", conditions.number.clone()),
        ("call_id", conditions.call_id.clone()),
        ("all", selection.all.then(|| "true".to_owned())),
    ]
}

/// Returns an empty table of files.
pub(super) fn table() -> Table {
    Table::new(&["STORED", "KIND", "SIZE", "KEY"])
}

/// Returns the row of `file` in a table of files.
pub(super) fn row(file: &Value) -> Vec<String> {
    let fields = ["stored_at", "kind", "size", "key"];
    fields.iter().map(|name| text(field(file, name))).collect()
}
