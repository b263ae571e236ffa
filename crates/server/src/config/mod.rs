//! The checked configuration of `serve`.
//!
//! [`Config`] is built from the flags, after clap has filled them in from the environment and before any file, socket or
//! store is opened. Another source of options, such as a file, belongs between clap and this conversion.

mod mount;
mod options;

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use kazoo_storage::Base64;
use kazoo_storage_ledger::Location;
use object_store::path::Path;
use url::Url;

pub(crate) use self::{
    mount::MountPath,
    options::{ledger, store},
};
pub(crate) use crate::cli::{AdminAddress, Cloud, KeySource};

/// The error of a configuration that is wrong: of a flag, or of a file that one names. The same start fails again until the
/// operator changes it, so the exit status is 2, as for an unknown flag.
#[derive(Debug)]
pub(crate) struct Invalid(pub(crate) String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// The configuration of the server.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// The admin endpoint, if there is one.
    pub(crate) admin: Option<AdminConfig>,
    /// File with KAZOO's storage settings. They define the key and the base64 mode, in place of the next two fields.
    pub(crate) settings: Option<PathBuf>,
    pub(crate) key: KeySource,
    pub(crate) base64: Base64,
    /// The mount that the operator has set.
    pub(crate) mount: Option<MountPath>,
    pub(crate) store: StoreConfig,
    /// The database of the stored files, if there is one.
    pub(crate) ledger: Option<LedgerConfig>,
    /// File with the receivers of events. There is a ledger if this is set.
    pub(crate) deliveries: Option<PathBuf>,
    /// Fetches are recorded in the audit trail. There is a ledger if this is set.
    pub(crate) audit: bool,
    /// File with a copy of the audit trail. There is a ledger if this is set.
    pub(crate) audit_file: Option<PathBuf>,
    /// File with the policy. There is a ledger if this is set.
    pub(crate) policy: Option<PathBuf>,
    /// The webhook for deletions in KAZOO. There is a ledger if this is set.
    pub(crate) deletion_webhook: Option<WebhookConfig>,
    pub(crate) access: Access,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) limits: Limits,
    pub(crate) connections: ConnectionLimits,
    pub(crate) timeouts: Timeouts,
    /// Maximum time from the first signal to the exit.
    pub(crate) grace: Duration,
    pub(crate) log: LogFormat,
    /// Files with secrets that set flags, each with the key that names it.
    pub(crate) secret_files: Vec<(String, PathBuf)>,
}

/// The admin endpoint.
#[derive(Debug)]
pub(crate) struct AdminConfig {
    pub(crate) address: AdminAddress,
    /// File with the token of its API, which is off without one.
    pub(crate) token_file: Option<PathBuf>,
    /// Names of this server beside its address.
    pub(crate) hosts: Vec<String>,
}

/// The webhook for deletions in KAZOO.
#[derive(Clone, Debug)]
pub(crate) struct WebhookConfig {
    pub(crate) path: MountPath,
    /// File with its secret.
    pub(crate) secret: PathBuf,
}

/// The store.
#[derive(Debug)]
pub(crate) enum StoreConfig {
    Directory {
        root: PathBuf,
        /// Sync uploads to disk before they are acknowledged.
        durable: bool,
        /// Compare files with their digest when they are fetched.
        verify: bool,
    },
    Bucket(BucketConfig),
}

/// A bucket of an object store.
#[derive(Clone, Debug)]
pub(crate) struct BucketConfig {
    pub(crate) cloud: Cloud,
    pub(crate) url: Url,
    pub(crate) prefix: Path,
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    /// Time limit for an answer of the object store.
    pub(crate) deadline: Duration,
    /// Validity of the signed URLs that fetches are redirected to.
    pub(crate) presign: Option<Duration>,
}

/// The database of the stored files.
#[derive(Debug)]
pub(crate) struct LedgerConfig {
    pub(crate) location: Location,
    /// The directory to create for it, if it is the default one.
    pub(crate) directory: Option<PathBuf>,
    /// Sync changes to disk before they are acknowledged.
    pub(crate) durable: bool,
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { root, .. } => write!(f, "{}", root.display()),
            Self::Bucket(bucket) => write!(f, "{}", bucket.url),
        }
    }
}

/// The clients that have access.
#[derive(Clone, Debug)]
pub(crate) enum Access {
    /// Every client that can connect.
    Anyone,
    /// Clients that satisfy the rules in this file.
    Rules(PathBuf),
}

/// The files for TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfig {
    /// Certificate chain.
    pub(crate) cert: PathBuf,
    /// Private key.
    pub(crate) key: PathBuf,
    /// Certificate authorities of clients; without them, clients need no certificate.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Limits of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Maximum length of a body, in bytes.
    pub(crate) max_body: u64,
    /// Maximum length of a multipart upload's metadata, in bytes.
    pub(crate) max_metadata: usize,
    /// Maximum length of a head, in bytes.
    pub(crate) max_head: usize,
    /// Maximum number of concurrent requests.
    pub(crate) max_requests: usize,
    /// Maximum number of concurrent requests of one address.
    pub(crate) max_requests_per_address: usize,
    /// Time after which a failing file is answered without `Retry-After`.
    pub(crate) retry_window: Duration,
}

/// Limits of the number of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub(crate) per_address: usize,
    pub(crate) total: usize,
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the first byte of a head to its last, and from the start of a connection to the first byte.
    pub(crate) head: Duration,
    /// From a response to the first byte of the next request.
    pub(crate) idle: Duration,
    /// For a client that reads nothing of its response, or sends less than 1 KiB of its body.
    pub(crate) stall: Duration,
}

/// The format of log records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogFormat {
    Text,
    Json,
}
