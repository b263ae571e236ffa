//! `retention requests`.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient,
        values::{field, items, query, text},
    },
    printable::{json_lines, print, print_lines},
    table::Table,
};

/// Number of requests that are fetched at once.
const PAGE: u64 = 500;

pub(super) async fn list(client: &AdminClient, json: bool) -> Result<ExitCode, String> {
    let (mut cursor, mut is_first) = (None, true);
    loop {
        let parameters = query(&[("limit", Some(PAGE.to_string())), ("cursor", cursor)]);
        let page = client.get(&format!("/v1/retention/requests?{parameters}")).await?;
        let requests = items(&page, "requests");
        let lines = if json {
            json_lines(requests)
        } else {
            let mut table = Table::new(&["DUE", "REQUESTED", "TYPE", "ACCOUNT", "DOCUMENT"]);
            for request in requests {
                let fields = ["due_at", "requested_at", "type", "account", "document"];
                table.add(fields.iter().map(|name| text(field(request, name))).collect());
            }
            table.text(is_first)
        };
        cursor = field(&page, "next").as_str().map(str::to_owned);
        is_first = false;
        if !print_lines(&lines)? || cursor.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

pub(super) async fn remove(client: &AdminClient, account: String, document: String) -> Result<ExitCode, String> {
    let shown = format!("{account}/{document}");
    let parameters = query(&[("account", Some(account)), ("document", Some(document))]);
    let target = format!("/v1/retention/requests?{parameters}");
    let _: Value = client.send(Method::DELETE, &target, None).await?.json().await?;
    print(&format!("the deletion of {shown} is cancelled"))?;
    Ok(ExitCode::SUCCESS)
}
