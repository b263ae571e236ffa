//! The options of `scrub`.

use clap::{Args, builder::BoolishValueParser};

use super::{Location, Size, values::size};

#[derive(Args, Debug)]
pub(crate) struct ScrubOptions {
    /// Directory of the files; an object store verifies its own objects
    #[arg(long, value_name = "DIR", default_value = "./data")]
    pub(crate) store: Location,

    /// Maximum number of bytes to read per second, so that fetches are not delayed; 0 means no limit
    #[arg(long, value_name = "SIZE", default_value = "32MiB", value_parser = size)]
    pub(crate) rate: Size,

    /// Move damaged files to `.quarantine` below the store's directory, so that they are no longer served; the server must
    /// be stopped
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) quarantine: bool,

    /// Read only the files below this name, such as an account id, in the spelling of the URL after the mount
    #[arg(value_name = "NAME")]
    pub(crate) beneath: Option<String>,
}
