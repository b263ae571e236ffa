//! The options of `serve`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, builder::BoolishValueParser};
use kazoo_storage::KazooStorage;

use super::{
    AdminOptions, KeySource, LedgerLocation, Size, StoreOptions,
    values::{address, duration, head_size, idle_timeout, nonzero_duration, nonzero_number, nonzero_size},
};

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Files with secrets that set flags, each with the key that names it.
    #[arg(skip)]
    pub(crate) secret_files: Vec<(String, PathBuf)>,

    /// Address and port to listen on; with port 0 the system chooses a port, and the first line on stdout names it; a socket
    /// that systemd passes replaces this address
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,

    #[command(flatten)]
    pub(crate) admin: AdminOptions,

    /// JSON file with KAZOO's storage document, or with the `settings` of a handler in it; replaces `--key` and `--base64`,
    /// and provides the default of `--mount`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "base64"])]
    pub(crate) settings: Option<PathBuf>,

    /// Path under which all files are served: the path of the URL in KAZOO's storage settings; by default the path of the
    /// URL in `--settings`, or `/some_prefix`
    ///
    /// A token in that path follows the mount. With both `--settings` and tokens in `--access`, name the part of the path
    /// before the token.
    #[arg(long, value_name = "PATH")]
    pub(crate) mount: Option<String>,

    #[command(flatten)]
    pub(crate) store: StoreOptions,

    /// Database of the stored files and of their events: `sqlite:PATH`, `postgres://USER:PASSWORD@HOST/DATABASE` for several
    /// servers, or `none`; by default `.ledger/files.sqlite` in the directory of `--store`, and `none` for an object store
    ///
    /// Each upload is recorded before it is acknowledged. While the ledger cannot record, uploads are answered with 503.
    #[arg(long, value_name = "LOCATION")]
    pub(crate) ledger: Option<LedgerLocation>,

    /// JSON file with the webhooks and AMQP exchanges that get the events of the files; reloaded on SIGHUP
    ///
    /// For example `{"webhooks": [{"url": "https://…", "secret": "whsec_…"}], "amqp": [{"url": "amqps://user:password@host"}]}`.
    /// docs/events.md describes all fields.
    #[arg(long, value_name = "FILE")]
    pub(crate) deliveries: Option<PathBuf>,

    /// TOML file with the policy: how long files are kept, and the quotas of accounts; reloaded on SIGHUP
    ///
    /// Without this flag, no file is deleted because of its age. docs/retention.md describes all fields.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,

    /// Path outside the mount at which KAZOO's webhook reports deleted documents, whose files are removed after a grace period
    ///
    /// The grace period is 30 days, unless `--policy` sets another one. `kazoo-storage plan --webhook` prints the webhook for KAZOO.
    /// Without this flag, KAZOO's deletions have no effect.
    #[arg(long, value_name = "PATH", requires = "deletion_webhook_secret_file")]
    pub(crate) deletion_webhook: Option<String>,

    /// File with the secret of the webhook, at least 16 characters; reloaded on SIGHUP
    #[arg(long, value_name = "FILE", requires = "deletion_webhook")]
    pub(crate) deletion_webhook_secret_file: Option<PathBuf>,

    /// Record each fetch in the audit trail of the ledger before the file is sent; a fetch that cannot be recorded is answered with 503
    ///
    /// Actions of the operator are recorded even without this flag. docs/audit.md describes the trail.
    #[arg(long, value_parser = BoolishValueParser::new())]
    pub(crate) audit: bool,

    /// File to which every entry of the audit trail is appended as a line of JSON; opened again on SIGHUP
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_file: Option<PathBuf>,

    /// JSON file with the access rules: networks, and users and tokens with their permissions; reloaded on SIGHUP
    ///
    /// For example `{"networks": ["10.0.0.0/8"], "credentials": [{"user": "kazoo", "password": "…"}, {"token": "…"}]}`. A
    /// token is the first path segment after the mount. docs/security.md describes all fields.
    #[arg(long, value_name = "FILE")]
    pub(crate) access: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    /// Listen on an address other than loopback without `--access`: anyone who can connect may store and fetch every file
    #[arg(long, value_parser = BoolishValueParser::new(), conflicts_with = "access")]
    pub(crate) allow_anyone: bool,

    /// Base64 in uploads: `detect` decodes content that is certainly encoded, `declared` requires multipart media to be
    /// encoded (the storage settings have `base64_encode_data`), `off` stores all content as it is
    #[arg(long, value_name = "MODE", default_value = "detect")]
    pub(crate) base64: Base64Mode,

    /// Source of a file's name: the `path`; `query=NAME`, a query parameter (the URL in the settings ends with `NAME=`);
    /// or `metadata=FIELD[,FIELD…]`, the first of these fields that the upload has (the settings have `send_multipart`,
    /// and `field_list: []`, `file` or a `#` in the URL)
    #[arg(long, value_name = "SOURCE", default_value = "path")]
    pub(crate) key: KeySource,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) connections: ConnectionOptions,

    /// Maximum time from the first signal to the exit of the server
    ///
    /// In the last tenth of this time, requests that are still in progress are answered with 503 and a Retry-After of a few
    /// seconds.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) grace: Duration,

    /// Format of the log on stderr; the environment variable `RUST_LOG` sets its level (default: `info`)
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Limits of a request.
#[derive(Args, Debug)]
pub(crate) struct LimitOptions {
    /// Maximum length of a request body; a longer one is answered with 413
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = nonzero_size)]
    pub(crate) max_body: Size,

    /// Maximum length of the metadata of a multipart upload, its JSON part; longer metadata is answered with 413
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = nonzero_size)]
    pub(crate) max_metadata: Size,

    /// Maximum length of a request head, at least 8KiB; a longer one is answered with 431, or with 414 if the request
    /// target alone is too long
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = head_size)]
    pub(crate) max_head: Size,

    /// Maximum number of concurrent requests; more are answered with 503 and a Retry-After of a second, after which KAZOO
    /// sends them again
    #[arg(long, value_name = "NUMBER", default_value_t = KazooStorage::DEFAULT_MAX_CONCURRENT, value_parser = nonzero_number)]
    pub(crate) max_requests: usize,

    /// Maximum concurrent requests of one address, or of one /64 of IPv6; more are answered with 503 and a Retry-After
    ///
    /// Behind a proxy, the address is the one that the proxy forwards if `--access` lists the proxy in
    /// `trusted_proxies`. Otherwise it is the proxy's own: raise this limit to `--max-requests` then.
    #[arg(long, value_name = "NUMBER", default_value_t = KazooStorage::DEFAULT_MAX_PER_CLIENT, value_parser = nonzero_number)]
    pub(crate) max_requests_per_address: usize,

    /// Time for which requests for a file that fail with 503, because of the store or of a limit, are answered with
    /// Retry-After; after that the response has no Retry-After, and KAZOO gives up
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    pub(crate) retry_window: Duration,

    /// Time limit for a request head, from its first byte; on a new connection it includes the TLS handshake; a later head
    /// is answered with 408
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = nonzero_duration)]
    pub(crate) head_timeout: Duration,

    /// Time limit for each KiB of a request body, and for a client to read any part of its response; a slower body is
    /// answered with 408, and the connection of a client that does not read is closed
    ///
    /// The required average rate grows with the age of the upload, up to 128 KiB in that time (35 kbit/s with 30
    /// seconds).
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = nonzero_duration)]
    pub(crate) stall_timeout: Duration,

    /// Time that a connection may stay idle, at least 125 seconds: KAZOO keeps an idle connection for 120, and loses an
    /// upload that it sends while the server closes the connection
    #[arg(long, value_name = "DURATION", default_value = "150s", value_parser = idle_timeout)]
    pub(crate) idle_timeout: Duration,
}

/// Limits of the number of connections. More are answered with 503 and a Retry-After of a second, and closed.
#[derive(Args, Debug)]
pub(crate) struct ConnectionOptions {
    /// Maximum connections of one address, or of one /64 of IPv6; behind a proxy all connections have the proxy's address,
    /// so raise it to `--max-connections` there
    #[arg(long, value_name = "NUMBER", default_value = "1024", value_parser = nonzero_number)]
    pub(crate) max_connections_per_address: usize,

    /// Maximum number of connections; each needs at most two file descriptors
    #[arg(long, value_name = "NUMBER", default_value = "8192", value_parser = nonzero_number)]
    pub(crate) max_connections: usize,
}

/// The files for TLS.
#[derive(Args, Debug)]
#[expect(clippy::struct_field_names, reason = "the fields are named as the flags")]
pub(crate) struct TlsOptions {
    /// PEM file with the certificate chain; connections use TLS 1.2 or 1.3; reloaded with the key on SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the private key of the certificate
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// PEM file with certificate authorities: clients must present a certificate of one of them
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_client_ca: Option<PathBuf>,
}

/// The modes of `--base64`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Base64Mode {
    Detect,
    Declared,
    Off,
}

/// The formats of `--log-format`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text for each record
    Text,
    /// One JSON object for each record
    Json,
}
