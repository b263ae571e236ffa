//! `events replay`.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::{
    admin_client::{
        AdminClient, follow,
        values::{field, number, text, time},
    },
    cli::ReplayOptions,
    printable::print,
};

pub(super) async fn events(client: &AdminClient, options: &ReplayOptions) -> Result<ExitCode, String> {
    let body = json!({
        "since": time(options.since),
        "until": options.until.map(time),
        "account": options.account,
        "receiver": options.receiver,
    });
    let line = |done: &Value| {
        let (files, queued) = (number(done, "files"), number(done, "queued"));
        format!(
            "{files} files, {queued} events queued, up to {}",
            text(field(done, "position"))
        )
    };
    let done = follow(client, "/v1/events/replay", Some(body), line, |_, _| Ok(false)).await?;
    print(&line(&done))?;
    Ok(ExitCode::SUCCESS)
}
