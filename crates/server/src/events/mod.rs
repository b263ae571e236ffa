//! The `events` command: shows and steers the events of a running server.

mod list;
mod steer;

use std::process::ExitCode;

use crate::{
    admin_client::{self, AdminClient},
    cli::{EventsAction, EventsOptions, ReceiversAction},
};

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: EventsOptions) -> ExitCode {
    admin_client::run(act(options))
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
