//! The options of `check`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, builder::BoolishValueParser};

use super::{
    Size,
    values::{duration, nonzero_duration, size},
};

/// A recognizable id in the form of an account id.
const ACCOUNT: &str = "c4ecc4ecc4ecc4ecc4ecc4ecc4ecc4ec";

#[derive(Args, Debug)]
#[command(override_usage = "kazoo-storage check [OPTIONS] <URL | --settings FILE>")]
pub(crate) struct CheckOptions {
    /// URL as in KAZOO's storage settings, with its credentials: tests every release, verb and upload format
    // `--help` would show the value in the environment, which may be a secret.
    #[arg(env = "KAZOO_STORAGE_URL", value_name = "URL", hide_env_values = true)]
    pub(crate) url: Option<String>,

    /// JSON file with KAZOO's storage document, or the `settings` of a handler in it: tests only the requests that KAZOO sends with them
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub(crate) settings: Option<PathBuf>,

    /// PEM file with certificate authorities to trust in addition to those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Time limit for each response; KAZOO itself has none
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = nonzero_duration)]
    pub(crate) timeout: Duration,

    /// Account of the stored files
    #[arg(long, value_name = "ID", default_value = ACCOUNT)]
    pub(crate) account: String,

    /// Length of the longest file
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size)]
    pub(crate) large: Size,

    /// Time that a connection must stay open without a request at the end of the check; KAZOO keeps an idle connection for
    /// 120 s, so 125s detects a server that may lose uploads
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub(crate) idle: Duration,

    /// Remove the files of the check with DELETE at its end, and list the files that the server keeps
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) clean: bool,

    /// Print the report as a JSON object
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) json: bool,

    /// Instead of the check, store and fetch over this many concurrent connections, and measure latencies
    #[arg(long, value_name = "CONNECTIONS", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) load: Option<u16>,

    /// Duration of `--load`
    #[arg(id = "for", long, value_name = "DURATION", default_value = "30s", value_parser = nonzero_duration)]
    pub(crate) span: Duration,

    /// Length of each file of `--load`
    #[arg(long, value_name = "SIZE", default_value = "20KiB", value_parser = size)]
    pub(crate) size: Size,
}
