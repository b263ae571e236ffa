//! The `events` command: shows and steers the events of a running server.

mod list;
mod steer;
mod table;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::SystemTime,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::{
    admin_client::AdminClient,
    cli::{EventsAction, EventsOptions, ReceiversAction},
};

/// Characters of a path segment that need no encoding.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The status of a command that needs a confirmation.
const UNCONFIRMED: u8 = 2;

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: EventsOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(act(options)));
    result.unwrap_or_else(|error| {
        eprintln!("kazoo-storage: {error}");
        ExitCode::FAILURE
    })
}

async fn act(options: EventsOptions) -> Result<ExitCode, String> {
    let client = AdminClient::new(options.server)?;
    match options.action {
        EventsAction::List(list) => list::events(&client, &list).await,
        EventsAction::Show { id, metadata, json } => list::event(&client, &id, metadata, json).await,
        EventsAction::Retry(retry) => steer::retry(&client, &retry).await,
        EventsAction::Discard(discard) => steer::discard(&client, &discard).await,
        EventsAction::Replay(replay) => steer::replay(&client, &replay).await,
        EventsAction::Receivers(receivers) => match receivers.action {
            None => list::receivers(&client, receivers.json).await,
            Some(ReceiversAction::Rm { name, yes }) => steer::remove(&client, &name, yes).await,
        },
    }
}

/// Prints a line on stdout. A reader that has seen enough is no error.
fn print(line: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write to stdout: {error}")),
        _ => Ok(()),
    }
}

fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn query(parameters: &[(&str, Option<String>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// Returns the text or the number in a field; an absent one is empty.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the field of an object; an absent one is null.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Returns the list in a field.
fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name).as_array().map(Vec::as_slice).unwrap_or_default()
}
