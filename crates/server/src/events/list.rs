//! `events list`, `events show` and `events receivers`.

use std::{process::ExitCode, time::SystemTime};

use http::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    admin_client::{
        AdminClient,
        values::{field, in_one_line, items, query, segment, text, time},
    },
    cli::{ListOptions, State},
    printable::{print, print_json, print_lines},
    table::Table,
};

/// Number of events that are fetched at once: a table has this many lines of one width.
const PAGE: u64 = 500;

pub(super) async fn events(client: &AdminClient, options: &ListOptions) -> Result<ExitCode, String> {
    let mut left = if options.limit == 0 { u64::MAX } else { options.limit };
    let (mut cursor, mut is_first) = (None, true);
    loop {
        let parameters = query(&[
            ("receiver", options.receiver.clone()),
            ("state", options.state.map(state)),
            ("account", options.account.clone()),
            ("since", options.since.map(time)),
            ("order", options.oldest.then(|| "oldest".to_owned())),
            ("limit", Some(left.min(PAGE).to_string())),
            ("cursor", cursor),
        ]);
        let page = client.get(&format!("/v1/events?{parameters}")).await?;
        let events = items(&page, "events");
        if options.json {
            for event in events {
                print_json(&event.to_string())?;
            }
        } else {
            let mut table = Table::new(&["TIME", "TYPE", "RECEIVER", "STATE", "ATTEMPTS", "ID", "KEY", "ERROR"]);
            for event in events {
                table.add(row(event));
            }
            print_lines(&table.text(is_first))?;
        }
        left -= left.min(events.len() as u64);
        cursor = field(&page, "next").as_str().map(str::to_owned);
        is_first = false;
        if cursor.is_none() {
            break;
        }
        if left == 0 {
            eprintln!("there are more events: raise --limit");
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn state(state: State) -> String {
    match state {
        State::Waiting => "waiting".to_owned(),
        State::Dead => "dead".to_owned(),
    }
}

fn row(event: &Value) -> Vec<String> {
    let fields = ["time", "type", "receiver", "state", "attempts", "id"];
    let mut row: Vec<String> = fields.iter().map(|name| text(field(event, name))).collect();
    row.push(text(field(field(event, "file"), "key")));
    row.push(text(&event["error"]));
    row
}

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
        let fields = ["receiver", "state", "attempts", "due_at", "error"];
        table.add(fields.iter().map(|name| text(field(event, name))).collect());
    }
    print_lines(&table.text(true))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn receivers(client: &AdminClient, json: bool) -> Result<ExitCode, String> {
    let shown = client.get("/v1/receivers").await?;
    let receivers = items(&shown, "receivers");
    if json {
        for receiver in receivers {
            print_json(&receiver.to_string())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["NAME", "KIND", "STATE", "WAITING", "DEAD", "OLDEST"]);
    for receiver in receivers {
        let fields = ["name", "kind", "state", "waiting", "dead"];
        let mut row: Vec<String> = fields.iter().map(|name| text(field(receiver, name))).collect();
        row.push(field(receiver, "oldest").as_str().map(age).unwrap_or_default());
        table.add(row);
    }
    print_lines(&table.text(true))?;
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
