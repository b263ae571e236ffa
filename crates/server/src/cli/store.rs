//! The options of the store, which `serve`, `copy` and `reindex` share.

use std::time::Duration;

use clap::{Args, builder::BoolishValueParser};

use super::{Location, values::nonzero_duration};

/// The settings of the buckets of an object store.
#[derive(Args, Clone, Debug)]
pub(crate) struct BucketOptions {
    /// URL of the S3-compatible cluster, such as `http://10.0.0.7:7480`; by default `AWS_ENDPOINT_URL`, or Amazon's own
    #[arg(long, value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,

    /// Region of the bucket; by default `AWS_REGION`, or `us-east-1`
    #[arg(long, value_name = "REGION")]
    pub(crate) s3_region: Option<String>,

    /// Time limit for the response of an object store, after which a request of `serve` is answered with 503
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = nonzero_duration)]
    pub(crate) store_deadline: Duration,
}

/// The store and its settings.
#[derive(Args, Debug)]
pub(crate) struct StoreOptions {
    /// Location of the files: a directory (`DIR` or `file:///DIR`), which is created if it does not exist, or a bucket of
    /// an object store: `s3://BUCKET/PREFIX` (any S3-compatible cluster), `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`
    ///
    /// Credentials come from the environment, by the names that the tools of each cloud use:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and the variables of containers and instances;
    /// `GOOGLE_APPLICATION_CREDENTIALS`; `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`.
    #[arg(long, value_name = "LOCATION", default_value = "./data")]
    pub(crate) store: Location,

    #[command(flatten)]
    pub(crate) bucket: BucketOptions,

    /// Redirect fetches to signed URLs of the object store, valid for this long; KAZOO must be able to reach the object store
    #[arg(long, value_name = "DURATION", value_parser = nonzero_duration)]
    pub(crate) presign: Option<Duration>,

    /// Acknowledge an upload before it is on disk: faster, but a power failure loses acknowledged uploads
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) no_fsync: bool,

    /// Compare each file that is fetched whole with the digest made at its upload: a damaged one is answered with 500, or
    /// interrupted before its last chunk if it is longer than 64 KiB; only if `--store` is a directory
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) verify_on_read: bool,
}
