//! The options of `audit`.

use std::time::SystemTime;

use clap::{Args, Subcommand, builder::BoolishValueParser};

use super::{
    AdminClientOptions,
    values::{text, time_or_age},
};

#[derive(Args, Debug)]
pub(crate) struct AuditOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    #[command(subcommand)]
    pub(crate) action: AuditAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// List entries that satisfy all conditions, newest first
    List(ListAuditOptions),
    /// Recompute the hashes of all entries, and show the first one that was changed, removed, moved or inserted
    ///
    /// The entries after the fault cannot be verified. The exit status is 1 if there is a fault.
    Verify {
        /// Print the server's JSON
        #[arg(long, value_parser = BoolishValueParser::new())]
        json: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ListAuditOptions {
    /// Only entries of this time or later
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) since: Option<SystemTime>,

    /// Only entries before this time
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) until: Option<SystemTime>,

    /// Only entries with this name of a credential or network in `--access`, or `operator`
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(crate) name: Option<String>,

    /// Only entries with this action, such as `fetch` or `delete`
    #[arg(long, value_name = "ACTION", value_parser = text)]
    pub(crate) action: Option<String>,

    /// Only entries about the file with this key
    #[arg(long, value_name = "KEY", value_parser = text)]
    pub(crate) key: Option<String>,

    /// Only entries about files whose key begins with this account
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) account: Option<String>,

    /// Maximum number of entries; 0 means no limit
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) limit: u64,

    /// Print a JSON object for each entry
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,
}
