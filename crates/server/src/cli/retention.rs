//! The options of `retention`.

use std::path::PathBuf;

use clap::{Args, Subcommand, builder::BoolishValueParser};

use super::AdminClientOptions;

#[derive(Args, Debug)]
pub(crate) struct RetentionOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    #[command(subcommand)]
    pub(crate) action: RetentionAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionAction {
    /// Show the files that the policy deletes now: for each rule their number, their length and the oldest
    ///
    /// With `--policy`, show those that the policy in another file would delete. The server does not apply it.
    Plan(PlanRetentionOptions),
    /// Trust the clock of the server from now on, so that suspended retention continues
    ///
    /// Check the clock first: if it is ahead, files are deleted early.
    Resume,
    /// Show and cancel the deletions that KAZOO has requested
    Requests {
        #[command(subcommand)]
        action: RequestsAction,
    },
}

#[derive(Args, Debug)]
pub(crate) struct PlanRetentionOptions {
    /// File with a policy that is not in force, as for `serve`, instead of the policy of the server
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// List each file, by rule, the oldest first, with the reason why it is deleted or kept
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) files: bool,

    /// Print a JSON object for each rule or file
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RequestsAction {
    /// List the documents that KAZOO has deleted and whose files are still there, by the time of their removal
    List {
        /// Print a JSON object for each document
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
    /// Cancel the deletion of a document, for example because its message was restored in KAZOO
    Rm {
        /// Id of the account
        account: String,
        /// Id of the document
        document: String,
    },
}
