//! The options of `erase`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, builder::BoolishValueParser};

use super::{AdminClientOptions, values::text};

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("subject").args(["account", "number"]).required(true))]
pub(crate) struct EraseOptions {
    #[command(flatten)]
    pub(crate) server: AdminClientOptions,

    /// Erase the files of this account
    #[arg(long, value_name = "ID", value_parser = text)]
    pub(crate) account: Option<String>,

    /// Erase the files of calls from or to this number, spelled exactly as KAZOO sent it
    #[arg(long, value_name = "NUMBER", value_parser = text)]
    pub(crate) number: Option<String>,

    /// Erase them without asking for confirmation
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) yes: bool,

    /// New file for the receipt: a line of JSON for each file, with the time of its removal, or the reason why it was kept
    ///
    /// The file must not exist. Only its owner can read it.
    #[arg(long, value_name = "FILE")]
    pub(crate) receipt: Option<PathBuf>,
}
