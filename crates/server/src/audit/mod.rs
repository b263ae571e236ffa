//! The `audit` command: shows and verifies the audit trail of a running server.

mod list;
mod verify;

use std::process::ExitCode;

use crate::{
    admin_client::{self, AdminClient},
    cli::{AuditAction, AuditOptions},
};

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: AuditOptions) -> ExitCode {
    admin_client::run(act(options))
}

async fn act(options: AuditOptions) -> Result<ExitCode, String> {
    let client = AdminClient::new(options.server)?;
    match options.action {
        AuditAction::List(list) => list::entries(&client, &list).await,
        AuditAction::Verify { json } => verify::trail(&client, json).await,
    }
}
