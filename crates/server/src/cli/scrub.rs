//! Options of `scrub`.

use clap::{Args, builder::BoolishValueParser};

use super::{Location, Size, values::size};

#[derive(Args, Debug)]
pub(crate) struct ScrubOptions {
    /// Directory of the store; an object store verifies its objects itself
    #[arg(long, env = "KAZOO_STORAGE_STORE", value_name = "DIR", default_value = "./data")]
    pub(crate) store: Location,

    /// Maximum number of bytes to read per second, to leave bandwidth for fetches; with a suffix KiB, MiB or GiB; 0 means no
    /// limit
    #[arg(long, env = "KAZOO_STORAGE_RATE", value_name = "SIZE", default_value = "32MiB", value_parser = size)]
    pub(crate) rate: Size,

    /// Move damaged files to `.quarantine` in the store's directory, so that they are no longer served. The server must be
    /// stopped
    #[arg(long, env = "KAZOO_STORAGE_QUARANTINE", value_parser = BoolishValueParser::new())]
    pub(crate) quarantine: bool,

    /// Verify only files below this name, such as an account's id, spelled as in the URL after the mount
    #[arg(value_name = "NAME")]
    pub(crate) beneath: Option<String>,
}
