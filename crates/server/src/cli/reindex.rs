//! The options of `reindex`.

use std::time::SystemTime;

use clap::{Args, builder::BoolishValueParser};

use super::{LedgerLocation, StoreOptions, values::time};

#[derive(Args, Debug)]
pub(crate) struct ReindexOptions {
    #[command(flatten)]
    pub(crate) store: StoreOptions,

    /// Database to record the files in: `sqlite:PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`; by default
    /// the one that `serve` keeps for this store
    #[arg(long, value_name = "LOCATION")]
    pub(crate) ledger: Option<LedgerLocation>,

    /// Also record an event for each file that is new in the ledger, so that receivers get it
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) events: bool,

    /// With `--events`: only for files that were stored at this time or later, such as `2026-11-29` or
    /// `2026-11-29T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time, requires = "events")]
    pub(crate) since: Option<SystemTime>,

    /// Record only the files below this name, such as an account id, in the spelling of the URL after the mount
    #[arg(value_name = "NAME")]
    pub(crate) beneath: Option<String>,
}
