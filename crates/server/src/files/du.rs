//! `files du`.

use std::process::ExitCode;

use crate::{
    admin_client::{
        AdminClient,
        values::{field, items, number, query},
    },
    cli::Size,
    printable::{json_lines, print_lines},
    table::Table,
};

pub(super) async fn usage(client: &AdminClient, account: Option<String>, json: bool) -> Result<ExitCode, String> {
    let usage = client
        .get(&format!("/v1/usage?{}", query(&[("account", account)])))
        .await?;
    let accounts = items(&usage, "accounts");
    if json {
        print_lines(&json_lines(accounts))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["ACCOUNT", "FILES", "BYTES", "SIZE"]);
    let (mut all_files, mut all_bytes) = (0, 0);
    let mut add = |account: String, files: u64, bytes: u64| {
        let size = Size(bytes).to_string();
        table.add(vec![account, files.to_string(), bytes.to_string(), size]);
    };
    for account in accounts {
        let (files, bytes) = (number(account, "files"), number(account, "bytes"));
        all_files += files;
        all_bytes += bytes;
        add(
            field(account, "account").as_str().unwrap_or("(none)").to_owned(),
            files,
            bytes,
        );
    }
    add("(all)".to_owned(), all_files, all_bytes);
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}
