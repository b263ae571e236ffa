//! The command line, and the environment variables that stand in for it.

mod check;
mod duration;
mod location;
mod size;

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::BoolishValueParser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use kazoo_storage::KazooStorage;

use self::duration::{idle, seconds, waiting};
pub(crate) use self::{
    check::CheckOptions,
    location::{Cloud, Location},
    size::Size,
};
use crate::{log::LogFormat, net::tls::TlsOptions, plan::PlanOptions, scrub::ScrubOptions};

/// HTTP storage for the attachments of the KAZOO telephony platform.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What the command line says; ends the process if it is wrong.
    pub(crate) fn read() -> Self {
        Self::try_parse().unwrap_or_else(|mut error| {
            let names = |kind| {
                let named = error.get(kind).map(ToString::to_string);
                named.is_some_and(|named| named.contains("--settings"))
            };
            if error.kind() == ErrorKind::ArgumentConflict
                && (names(ContextKind::InvalidArg) || names(ContextKind::PriorArg))
            {
                let why =
                    "the document of --settings says where a name is and what base64 is: leave the other flag out";
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![why.into()]));
            }
            error.exit()
        })
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store what KAZOO uploads, and serve it
    ///
    /// The first SIGTERM or Ctrl-C stops the server: it accepts no connection any more, finishes the requests it has
    /// begun, answers what still arrives on open connections, and exits with status 0 once they are all closed or the
    /// grace period is over. A second one ends it at once, with status 128 plus the signal's number.
    Serve(Box<ServeOptions>),
    /// Print the storage document that has KAZOO store here, and say what KAZOO would refuse
    ///
    /// The document goes to stdout, ready to be PUT to `/v2/accounts/{ACCOUNT_ID}/storage` and to be given to `serve
    /// --settings`; what to do with it to stderr.
    Plan(PlanOptions),
    /// Read every file of a directory, and tell those that are not what was uploaded
    ///
    /// It can run beside the server. Each damaged file is a line on stdout, and the last line counts. The status is 0 if
    /// all is well, 2 if something is damaged, and 1 if it could not be found out.
    Scrub(ScrubOptions),
    /// Try a storage as KAZOO would, and say what does not work, why, and what to change
    ///
    /// With a URL, every release since 4.0 stores and fetches with PUT and POST, raw, as multipart and in base64: empty, small
    /// and long files, odd names, the same file twice, and what is not there. With `--settings`, only what these settings make
    /// KAZOO send. It works with any server, not only with this one.
    ///
    /// KAZOO deletes nothing, so what is stored is left behind: some ten files, as long as `--large` together, of the account
    /// `--account`, under its id below the URL unless the settings name files in another way; a server that keeps the files
    /// that credentials are tested with has those too (`…_test_credentials_file.txt`). Each check replaces those of the last.
    /// `--load` leaves at most 64 files for each connection.
    ///
    /// The status is 0 if all works, 1 if something that KAZOO needs does not, and 2 if nothing could be tried: wrong usage, or
    /// no connection. Nothing of the URL but the host and the port is shown.
    Check(Box<CheckOptions>),
}

#[derive(Args, Debug)]
pub(crate) struct ServeOptions {
    /// Address and port to listen on; port 0 takes a free one, which the first line on stdout names
    #[arg(
        long,
        env = "KAZOO_STORAGE_LISTEN",
        value_name = "ADDR:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = address
    )]
    pub(crate) listen: SocketAddr,

    /// Address and port for the operator: `/metrics` for Prometheus, `/healthz`, and `/readyz`, which is 503 while the store
    /// does not work and from the first SIGTERM on; without it there are none
    ///
    /// Whoever reaches it may ask, so keep it from where KAZOO's users are; it has no names, no numbers and no secrets.
    #[arg(long, env = "KAZOO_STORAGE_ADMIN", value_name = "ADDR:PORT", value_parser = address)]
    pub(crate) admin: Option<SocketAddr>,

    /// JSON file with KAZOO's storage document, or the `settings` of a handler in it: says where a name is and what base64
    /// is, as `--key` and `--base64` do otherwise, and the mount, unless `--mount` does
    #[arg(
        long,
        env = "KAZOO_STORAGE_SETTINGS",
        value_name = "FILE",
        conflicts_with_all = ["key", "base64"]
    )]
    pub(crate) settings: Option<PathBuf>,

    /// Path that every file is under, as in the URL of KAZOO's storage settings; without it, `/some_prefix`, or the path
    /// of the URL in `--settings`
    ///
    /// A token in that path stands behind the mount. With `--settings` and tokens in `--access`, say what stands before the
    /// token.
    #[arg(long, env = "KAZOO_STORAGE_MOUNT", value_name = "PATH")]
    pub(crate) mount: Option<String>,

    #[command(flatten)]
    pub(crate) store: StoreOptions,

    /// JSON file that says who is let in: networks, and users and tokens with what each may do; read again on SIGHUP
    ///
    /// Such as `{"networks": ["10.0.0.0/8"], "credentials": [{"user": "kazoo", "password": "…"}, {"token": "…"}]}`; a
    /// token is the first segment behind the mount, and docs/security.md has the rest.
    #[arg(long, env = "KAZOO_STORAGE_ACCESS", value_name = "FILE")]
    pub(crate) access: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: TlsOptions,

    /// Listen on an address that others reach, without `--access`: whoever reaches it may store and fetch everything
    #[arg(long, env = "KAZOO_STORAGE_ALLOW_ANYONE", value_parser = BoolishValueParser::new(), conflicts_with = "access")]
    pub(crate) allow_anyone: bool,

    /// What base64 in uploads is: `detect` decodes what is unmistakably encoded, `declared` requires multipart media to
    /// be encoded (the storage settings have `base64_encode_data`), `off` stores everything as it came
    #[arg(long, env = "KAZOO_STORAGE_BASE64", value_name = "MODE", default_value = "detect")]
    pub(crate) base64: Base64Mode,

    /// Where a file's name is: in the `path`; in `query=NAME`, a parameter of the query (the settings' URL ends with
    /// `NAME=`); or in `metadata=FIELD[,FIELD…]`, the first of these fields that there is (the settings have
    /// `send_multipart`, and `field_list: []`, `file` or a `#` in the URL)
    #[arg(long, env = "KAZOO_STORAGE_KEY", value_name = "SOURCE", default_value = "path")]
    pub(crate) key: KeySource,

    /// Longest body to accept, in bytes or with a suffix KiB, MiB or GiB
    #[arg(long, env = "KAZOO_STORAGE_MAX_BODY", value_name = "SIZE", default_value = "1GiB")]
    pub(crate) max_body: Size,

    #[command(flatten)]
    pub(crate) limits: LimitOptions,

    #[command(flatten)]
    pub(crate) connections: ConnectionOptions,

    /// How many seconds the server takes at most from the first signal to its end
    ///
    /// In the last tenth, requests that are not done yet are answered with 503 and a Retry-After of a few seconds.
    #[arg(long, env = "KAZOO_STORAGE_GRACE", value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) grace: Duration,

    /// Form of the log on stderr; the environment variable `RUST_LOG` sets how much is logged (default: `info`)
    #[arg(
        long,
        env = "KAZOO_STORAGE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    pub(crate) log_format: LogFormat,
}

/// What a request may take of the server.
#[derive(Args, Clone, Debug)]
pub(crate) struct LimitOptions {
    /// Longest metadata of a multipart upload, its JSON part; more is answered with 413
    #[arg(
        long,
        env = "KAZOO_STORAGE_MAX_METADATA",
        value_name = "SIZE",
        default_value = "1MiB"
    )]
    pub(crate) max_metadata: Size,

    /// Longest head of a request, at least 8KiB; more is answered with 431, or 414 if it is the target alone
    #[arg(long, env = "KAZOO_STORAGE_MAX_HEAD", value_name = "SIZE", default_value = "64KiB", value_parser = head_size)]
    pub(crate) max_head: Size,

    /// Most requests to answer at once; more are answered with 503 and a Retry-After of a second, on which KAZOO waits
    /// and sends them again
    #[arg(long, env = "KAZOO_STORAGE_MAX_REQUESTS", value_name = "NUMBER", default_value_t = KazooStorage::DEFAULT_MAX_CONCURRENT)]
    pub(crate) max_requests: usize,

    /// Maximum concurrent requests of one address, or of one /64 of IPv6; more are answered with 503 and a Retry-After
    ///
    /// Behind a proxy, the address is the one that the proxy forwards if `--access` lists the proxy in
    /// `trusted_proxies`. Otherwise it is the proxy's own: raise this limit to `--max-requests` then.
    #[arg(
        long,
        env = "KAZOO_STORAGE_MAX_REQUESTS_PER_ADDRESS",
        value_name = "NUMBER",
        default_value_t = KazooStorage::DEFAULT_MAX_PER_CLIENT
    )]
    pub(crate) max_requests_per_address: usize,

    /// For how many seconds a file that cannot be stored or fetched, because of the store or of a limit, is answered with
    /// Retry-After; after that with 503 alone, so that KAZOO gives it up
    #[arg(long, env = "KAZOO_STORAGE_RETRY_WINDOW", value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    pub(crate) retry_window: Duration,

    /// How many seconds the head of a request may take, from its first byte on; a new connection has as many for TLS and
    /// the head together; more is answered with 408
    #[arg(long, env = "KAZOO_STORAGE_HEAD_TIMEOUT", value_name = "SECONDS", default_value = "10", value_parser = waiting)]
    pub(crate) head_timeout: Duration,

    /// How many seconds a body may take for 1 KiB, or a client to read any of its answer; a slower body is answered with
    /// 408, a client that does not read is closed on
    ///
    /// The required average rate grows with the age of the upload, up to 128 KiB in that time (35 kbit/s with 30
    /// seconds).
    #[arg(long, env = "KAZOO_STORAGE_STALL_TIMEOUT", value_name = "SECONDS", default_value = "30", value_parser = waiting)]
    pub(crate) stall_timeout: Duration,

    /// How many seconds a connection may stay without a request, at least 125: KAZOO keeps one for 120, and an upload on a
    /// connection that is just being closed is lost
    #[arg(long, env = "KAZOO_STORAGE_IDLE_TIMEOUT", value_name = "SECONDS", default_value = "150", value_parser = idle)]
    pub(crate) idle_timeout: Duration,
}

/// How many connections there may be. More are answered with 503 and a Retry-After of a second, and closed.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConnectionOptions {
    /// Most connections of one address, or of one /64 of IPv6; behind a proxy all are the proxy's: set it as high as
    /// `--max-connections` there
    #[arg(
        id = "max_connections_per_address",
        long = "max-connections-per-address",
        env = "KAZOO_STORAGE_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "NUMBER",
        default_value = "1024"
    )]
    pub(crate) per_address: usize,

    /// Most connections; each needs two file descriptors at most
    #[arg(
        id = "max_connections",
        long = "max-connections",
        env = "KAZOO_STORAGE_MAX_CONNECTIONS",
        value_name = "NUMBER",
        default_value = "8192"
    )]
    pub(crate) max: usize,
}

/// Where files are kept, and how.
#[derive(Args, Debug)]
pub(crate) struct StoreOptions {
    /// Where to keep the files: a directory (`DIR` or `file:///DIR`), which is created if it is not there, or a bucket of
    /// an object store: `s3://BUCKET/PREFIX` (any S3-compatible cluster), `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`
    ///
    /// Credentials come from the environment, by the names that the tools of each cloud have for them:
    /// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` and the variables of containers and instances;
    /// `GOOGLE_APPLICATION_CREDENTIALS`; `AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`.
    #[arg(long, env = "KAZOO_STORAGE_STORE", value_name = "LOCATION", default_value = "./data")]
    pub(crate) store: Location,

    /// URL of the S3-compatible cluster, such as `http://10.0.0.7:7480`; without it, `AWS_ENDPOINT_URL`'s or Amazon's own
    #[arg(long, env = "KAZOO_STORAGE_S3_ENDPOINT", value_name = "URL")]
    pub(crate) s3_endpoint: Option<String>,

    /// Region of the bucket; without it, `AWS_REGION`'s or `us-east-1`
    #[arg(long, env = "KAZOO_STORAGE_S3_REGION", value_name = "REGION")]
    pub(crate) s3_region: Option<String>,

    /// How many seconds an object store may keep a request waiting before it is answered with 503
    #[arg(
        long,
        env = "KAZOO_STORAGE_STORE_DEADLINE",
        value_name = "SECONDS",
        default_value = "30",
        value_parser = seconds
    )]
    pub(crate) store_deadline: Duration,

    /// Redirect fetches to the object store, by signed URLs that are valid for so many seconds; KAZOO must reach it
    #[arg(long, env = "KAZOO_STORAGE_PRESIGN", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) presign: Option<Duration>,

    /// Answer an upload without waiting until the disk has it: faster, but a power failure loses answered uploads
    #[arg(long, env = "KAZOO_STORAGE_NO_FSYNC", value_parser = BoolishValueParser::new())]
    pub(crate) no_fsync: bool,

    /// Compare each file that is fetched whole with the digest made when it was uploaded: a damaged one is answered with
    /// 500, or breaks off before its last chunk if it is longer than 64 KiB; for a directory
    #[arg(long, env = "KAZOO_STORAGE_VERIFY_ON_READ", value_parser = BoolishValueParser::new())]
    pub(crate) verify_on_read: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Base64Mode {
    Detect,
    Declared,
    Off,
}

/// Where the name of a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    Path,
    Query(String),
    Metadata(Vec<String>),
}

impl FromStr for KeySource {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None if text == "path" => Ok(Self::Path),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("metadata", fields)) if fields.split(',').all(|field| !field.is_empty()) => {
                Ok(Self::Metadata(fields.split(',').map(str::to_owned).collect()))
            }
            _ => Err("expected `path`, `query=NAME` or `metadata=FIELD[,FIELD…]`"),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses of the machine")
}

fn head_size(text: &str) -> Result<Size, &'static str> {
    match text.parse()? {
        size @ Size(0x2000..=0x100_0000) => Ok(size),
        Size(_) => Err("expected at least 8KiB and at most 16MiB"),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let command = Cli::command();
        let flags = command.get_subcommands().flat_map(clap::Command::get_arguments);
        for flag in flags.filter(|arg| arg.get_id() != "help" && !arg.is_positional()) {
            let name = flag.get_id().as_str().to_uppercase();
            let expected = format!("KAZOO_STORAGE_{name}");
            assert_eq!(flag.get_env().unwrap(), expected.as_str());
        }
    }

    #[test]
    fn key_sources() {
        assert_eq!("path".parse(), Ok(KeySource::Path));
        assert_eq!("query=recording".parse(), Ok(KeySource::Query("recording".into())));
        assert_eq!(
            "metadata=media_id,id".parse(),
            Ok(KeySource::Metadata(vec!["media_id".into(), "id".into()]))
        );
        for bad in ["", "Path", "query", "query=", "metadata=", "metadata=a,,b", "header=x"] {
            assert!(bad.parse::<KeySource>().is_err(), "{bad}");
        }
    }
}
