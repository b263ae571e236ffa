//! `events retry`.

use std::process::ExitCode;

use serde_json::Value;

use super::selected::{all_dead, change_each};
use crate::{
    admin_client::{
        AdminClient, follow,
        values::{number, query},
    },
    cli::RetryOptions,
    printable::print,
};

pub(super) async fn events(client: &AdminClient, options: &RetryOptions) -> Result<ExitCode, String> {
    let done = if options.events.dead {
        let mut body = all_dead(&options.events);
        if let Some(body) = body.as_object_mut() {
            body.insert("superseded".to_owned(), options.superseded.into());
        }
        follow(client, "/v1/events/retry", Some(body), retried, |_, _| Ok(false)).await?
    } else {
        let superseded = options.superseded.then(|| "true".to_owned());
        let parameters = [
            ("receiver", options.events.receiver.clone()),
            ("superseded", superseded),
        ];
        change_each(client, &options.events.ids, "retry", &query(&parameters)).await?
    };
    print(&retried(&done))?;
    if number(&done, "superseded") > 0 {
        eprintln!(
            "the others stay dead: their receivers have later events of the same files; discard them, or pass --superseded"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn retried(done: &Value) -> String {
    format!(
        "{} retried, {} superseded",
        number(done, "retried"),
        number(done, "superseded")
    )
}
