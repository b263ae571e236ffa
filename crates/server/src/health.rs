//! The `health` command: asks a running server whether it is ready.

use std::{process::ExitCode, time::Duration};

use tokio::time::timeout;

use crate::{admin_client::AdminClient, cli::AdminServerOptions, printable::complain};

/// Time limit for the answer. The server takes at most 3 seconds for the check of its store.
const DEADLINE: Duration = Duration::from_secs(5);

/// Runs the command, and prints the reason on stderr if the server is not ready.
pub(crate) fn run(options: AdminServerOptions) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask(options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn ask(options: AdminServerOptions) -> Result<(), String> {
    let server = options.admin.to_string();
    let client = AdminClient::anonymous(options);
    timeout(DEADLINE, client.readiness()).await.unwrap_or_else(|_| {
        Err(format!(
            "the server at {server} did not answer within {} s",
            DEADLINE.as_secs()
        ))
    })
}
