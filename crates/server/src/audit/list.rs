//! `audit list`.

use std::process::ExitCode;

use crate::{
    admin_client::{
        AdminClient,
        values::{field, items, query, text, time},
    },
    cli::ListAuditOptions,
    printable::{json_lines, print_lines},
    table::Table,
};

/// Number of entries that are fetched at once: a table has this many lines of one width.
const PAGE: u64 = 500;

pub(super) async fn entries(client: &AdminClient, options: &ListAuditOptions) -> Result<ExitCode, String> {
    let mut left = if options.limit == 0 { u64::MAX } else { options.limit };
    let (mut cursor, mut is_first) = (None, true);
    loop {
        let parameters = query(&[
            ("since", options.since.map(time)),
            ("until", options.until.map(time)),
            ("name", options.name.clone()),
            ("action", options.action.clone()),
            ("key", options.key.clone()),
            ("account", options.account.clone()),
            ("limit", Some(left.min(PAGE).to_string())),
            ("cursor", cursor),
        ]);
        let page = client.get(&format!("/v1/audit?{parameters}")).await?;
        let entries = items(&page, "entries");
        let lines = if options.json {
            json_lines(entries)
        } else {
            let mut table = Table::new(&["SEQ", "TIME", "NAME", "ADDRESS", "ACTION", "OUTCOME", "KEY"]);
            for entry in entries {
                let fields = ["seq", "time", "name", "address", "action", "outcome", "key"];
                table.add(fields.iter().map(|name| text(field(entry, name))).collect());
            }
            table.text(is_first)
        };
        if !print_lines(&lines)? {
            break;
        }
        left -= left.min(entries.len() as u64);
        cursor = field(&page, "next").as_str().map(str::to_owned);
        is_first = false;
        if cursor.is_none() {
            break;
        }
        if left == 0 {
            eprintln!("there are more entries: raise --limit");
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
