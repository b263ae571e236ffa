//! The `retention` command: previews what the policy deletes, cancels requested deletions, and resumes suspended retention.

mod plan;
mod requests;

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use crate::{
    admin_client::{
        self, AdminClient,
        values::{field, text},
    },
    cli::{RequestsAction, RetentionAction, RetentionOptions},
    printable::print,
};

/// Runs the command, and prints an error on stderr.
pub(crate) fn run(options: RetentionOptions) -> ExitCode {
    admin_client::run(act(options))
}

async fn act(options: RetentionOptions) -> Result<ExitCode, String> {
    let client = AdminClient::new(options.server)?;
    match options.action {
        RetentionAction::Plan(options) => plan::plan(&client, &options).await,
        RetentionAction::Resume => resume(&client).await,
        RetentionAction::Requests { action } => match action {
            RequestsAction::List { json } => requests::list(&client, json).await,
            RequestsAction::Rm { account, document } => requests::remove(&client, account, document).await,
        },
    }
}

async fn resume(client: &AdminClient) -> Result<ExitCode, String> {
    let response = client.send(Method::POST, "/v1/retention/resume", None).await?;
    let done: Value = response.json().await?;
    let clock = text(field(&done, "clock"));
    print(&match field(&done, "suspended") {
        Value::Null => format!("retention was not suspended; the clock is {clock}"),
        _ => format!("retention continues; the clock is {clock}"),
    })?;
    Ok(ExitCode::SUCCESS)
}
