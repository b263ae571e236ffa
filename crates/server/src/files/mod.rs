//! The `files` command: finds, fetches, exports, verifies and removes the files of a running server.

mod du;
mod export;
mod get;
mod list;
mod rm;
mod stat;
mod verify;

use std::process::ExitCode;

use crate::{
    admin_client::{self, AdminClient, values::segment},
    cli::{FilesAction, FilesOptions},
};

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: FilesOptions) -> ExitCode {
    admin_client::run(act(options))
}

async fn act(options: FilesOptions) -> Result<ExitCode, String> {
    let client = AdminClient::new(options.server)?;
    match options.action {
        FilesAction::List(list) => list::files(&client, &list).await,
        FilesAction::Stat { key, metadata, json } => stat::file(&client, &key, metadata, json).await,
        FilesAction::Get(get) => get::content(&client, &get).await,
        FilesAction::Export(options) => export::files(client, &options).await,
        FilesAction::Verify(options) => verify::files(&client, &options).await,
        FilesAction::Rm { keys, yes } => rm::files(&client, &keys, yes).await,
        FilesAction::Du { account, json } => du::usage(&client, account, json).await,
    }
}

/// Returns the target of the file `key`.
fn target(key: &str) -> String {
    format!("/v1/files/{}", segment(key))
}
