//! `events show`.

use std::process::ExitCode;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    admin_client::{
        AdminClient,
        values::{field, in_one_line, query, segment, text, texts},
    },
    printable::{print, print_json, print_lines},
    table::Table,
};

/// The answer about one event.
#[derive(Deserialize)]
struct Shown {
    events: Vec<Value>,
    /// The document as it was uploaded. A value could not hold everything that JSON permits.
    metadata: Option<Box<RawValue>>,
}

pub(super) async fn event(client: &AdminClient, id: &str, metadata: bool, json: bool) -> Result<ExitCode, String> {
    let parameters = query(&[("metadata", metadata.then(|| "true".to_owned()))]);
    let target = format!("/v1/events/{}?{parameters}", segment(id));
    let response = client.send(Method::GET, &target, None).await?;
    if json {
        let shown: Box<RawValue> = response.json().await?;
        print_json(&in_one_line(shown.get()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Shown {
        events,
        metadata: document,
    } = response.json().await?;
    if let Some(first) = events.first() {
        let mut table = Table::new(&["id", id]);
        for name in ["type", "time"] {
            table.add(vec![name.to_owned(), text(field(first, name))]);
        }
        for (name, value) in field(first, "file").as_object().into_iter().flatten() {
            table.add(vec![name.clone(), text(value)]);
        }
        if let Some(document) = document {
            table.add(vec!["metadata".to_owned(), in_one_line(document.get())]);
        }
        print_lines(&table.text(true))?;
        print("")?;
    }
    let mut table = Table::new(&["RECEIVER", "STATE", "ATTEMPTS", "DUE", "ERROR"]);
    for event in &events {
        table.add(texts(event, &["receiver", "state", "attempts", "due_at", "error"]));
    }
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}
