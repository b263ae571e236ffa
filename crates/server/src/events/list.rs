//! `events list`.

use std::process::ExitCode;

use serde_json::Value;

use crate::{
    admin_client::{
        AdminClient, Listing,
        values::{field, text, texts, time},
    },
    cli::{ListOptions, State},
};

/// The headings of a table of events.
pub(super) const HEADINGS: &[&str] = &["TIME", "TYPE", "RECEIVER", "STATE", "ATTEMPTS", "ID", "KEY", "ERROR"];

pub(super) async fn events(client: &AdminClient, options: &ListOptions) -> Result<ExitCode, String> {
    let listing = Listing {
        path: "/v1/events",
        items: "events",
        parameters: vec![
            ("receiver", options.receiver.clone()),
            ("state", options.state.map(state)),
            ("account", options.account.clone()),
            ("since", options.since.map(time)),
            ("order", options.oldest.then(|| "oldest".to_owned())),
        ],
        body: None,
        limit: options.limit,
        json: options.json,
        headings: HEADINGS,
        row,
    };
    listing.print(client).await
}

fn state(state: State) -> String {
    match state {
        State::Waiting => "waiting".to_owned(),
        State::Dead => "dead".to_owned(),
    }
}

/// Returns the row of `event` in a table of events.
pub(super) fn row(event: &Value) -> Vec<String> {
    let mut row = texts(event, &["time", "type", "receiver", "state", "attempts", "id"]);
    row.extend([field(field(event, "file"), "key"), field(event, "error")].map(text));
    row
}
