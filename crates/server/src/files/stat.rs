//! `files stat`.

use std::process::ExitCode;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::target;
use crate::{
    admin_client::{
        AdminClient,
        values::{field, in_one_line, query, text},
    },
    printable::{print_json, print_lines},
    table::Table,
};

/// The answer about one file.
#[derive(Deserialize)]
struct Shown {
    file: Value,
    /// The document as it was uploaded. A value could not hold everything that JSON permits.
    metadata: Option<Box<RawValue>>,
}

pub(super) async fn file(client: &AdminClient, key: &str, metadata: bool, json: bool) -> Result<ExitCode, String> {
    let parameters = query(&[("metadata", metadata.then(|| "true".to_owned()))]);
    let target = format!("{}?{parameters}", target(key));
    let response = client.send(Method::GET, &target, None).await?;
    if json {
        let shown: Box<RawValue> = response.json().await?;
        print_json(&in_one_line(shown.get()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Shown { file, metadata } = response.json().await?;
    let mut fields = file.as_object().into_iter().flatten();
    let row = |(name, value): (&String, &Value)| match value.as_array() {
        Some(holds) => vec![name.clone(), holds.iter().map(hold).collect::<Vec<_>>().join(", ")],
        None => vec![name.clone(), text(value)],
    };
    let first = fields.next().map(row).unwrap_or_default();
    let mut table = Table::new(&first.iter().map(String::as_str).collect::<Vec<_>>());
    for field in fields {
        table.add(row(field));
    }
    if let Some(document) = metadata {
        table.add(vec!["metadata".to_owned(), in_one_line(document.get())]);
    }
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the id and the reason of a hold.
pub(super) fn hold(hold: &Value) -> String {
    format!("{} ({})", text(field(hold, "id")), text(field(hold, "reason")))
}
