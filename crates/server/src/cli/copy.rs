//! The options of `copy`.

use clap::{Args, builder::BoolishValueParser};

use super::{BucketOptions, Location, StoreOptions};

#[derive(Args, Debug)]
pub(crate) struct CopyOptions {
    /// Location of the files: a directory or a bucket, as for `serve --store`
    #[arg(long, value_name = "LOCATION")]
    pub(crate) from: Location,

    /// Location to copy them to; a directory is created if it does not exist
    #[arg(long, value_name = "LOCATION")]
    pub(crate) to: Location,

    /// Read each file from the destination after it was stored, and compare its content
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) verify: bool,

    /// Replace files of the destination that differ; without this flag, each of them is a failure
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) replace: bool,

    /// Only compare, and store nothing
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) dry_run: bool,

    #[command(flatten)]
    pub(crate) bucket: BucketOptions,
}

impl CopyOptions {
    /// Returns the options of a store at `location`, with those of the flags that apply to it.
    pub(crate) fn store(&self, location: &Location) -> StoreOptions {
        let mut bucket = self.bucket.clone();
        if matches!(location, Location::Directory(_)) {
            bucket.s3_endpoint = None;
            bucket.s3_region = None;
        }
        StoreOptions {
            store: location.clone(),
            bucket,
            presign: None,
            no_fsync: false,
            verify_on_read: false,
        }
    }
}
