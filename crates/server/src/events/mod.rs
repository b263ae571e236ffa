//! The `events` command: lists, retries, discards and replays the events of a running server.

mod discard;
mod list;
mod receivers;
mod replay;
mod retry;
mod selected;
mod show;

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
        EventsAction::List(options) => list::events(&client, &options).await,
        EventsAction::Show { id, metadata, json } => show::event(&client, &id, metadata, json).await,
        EventsAction::Retry(options) => retry::events(&client, &options).await,
        EventsAction::Discard(options) => discard::events(&client, &options).await,
        EventsAction::Replay(options) => replay::events(&client, &options).await,
        EventsAction::Receivers(options) => match options.action {
            None => receivers::list(&client, options.json).await,
            Some(ReceiversAction::Rm { name, yes }) => receivers::remove(&client, &name, yes).await,
        },
    }
}
