//! The conditions of files that `files` and `hold` share.

use std::time::SystemTime;

use clap::Args;

use super::values::{text, time_or_age};

/// The conditions that files must satisfy.
#[derive(Args, Debug)]
pub(crate) struct Conditions {
    /// Only files of this account
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) account: Option<String>,

    /// Only files that are attached to this document of the account
    #[arg(long, value_name = "ID", value_parser = text, requires = "account")]
    pub(crate) document: Option<String>,

    /// Only files that were stored at this time or later
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) since: Option<SystemTime>,

    /// Only files that were stored before this time
    #[arg(long, value_name = "TIME", value_parser = time_or_age)]
    pub(crate) until: Option<SystemTime>,

    /// Only files of calls from or to this number, spelled exactly as KAZOO sent it
    #[arg(long, value_name = "NUMBER", value_parser = text)]
    pub(crate) number: Option<String>,

    /// Only files of the call with this id
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) call_id: Option<String>,
}
