//! The options of `hold`.

use clap::{ArgGroup, Args, Subcommand, builder::BoolishValueParser};

use super::{AdminClientOptions, Conditions, values::text};

#[derive(Args, Debug)]
pub(crate) struct HoldOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    #[command(subcommand)]
    pub(crate) action: HoldAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldAction {
    /// Protect the files that satisfy all conditions, including those that are stored later
    ///
    /// The command waits until the hold takes effect on every server, which takes at least 2 seconds. It then waits at most 20
    /// seconds for the removals and uploads that began before.
    Add(AddHoldOptions),
    /// List the holds, the oldest first
    List {
        /// Print a JSON object for each hold
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
    /// Remove a hold; its files stay until somebody removes them
    Rm {
        /// Id of the hold
        id: String,
        /// Reason for the removal, which the server's log and its audit trail record
        #[arg(long, value_name = "TEXT", value_parser = text)]
        reason: String,
    },
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("any")
    .args(["key", "account", "since", "until", "number", "call_id"]).required(true).multiple(true))]
pub(crate) struct AddHoldOptions {
    /// Keep the file with this key
    pub(crate) key: Option<String>,

    #[command(flatten)]
    pub(crate) conditions: Conditions,

    /// Reason for the hold, such as the number of a case
    #[arg(long, value_name = "TEXT", value_parser = text)]
    pub(crate) reason: String,

    /// Person who orders the hold
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(crate) author: String,

    /// Print the server's JSON
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}
