//! Checks the options of `serve` and converts them to a [`Config`].

use std::{net::SocketAddr, path::PathBuf};

use kazoo_storage::Base64;

use super::{
    Access, AdminConfig, BucketConfig, Config, ConnectionLimits, LedgerConfig, Limits, LogFormat, MountPath,
    StoreConfig, Timeouts, TlsConfig, WebhookConfig,
};
use crate::cli::{
    self, AdminOptions, Base64Mode, LedgerLocation, Location, ServeOptions, Size, StoreOptions, TlsOptions,
};

impl TryFrom<ServeOptions> for Config {
    type Error = String;

    fn try_from(options: ServeOptions) -> Result<Self, String> {
        let limits = &options.limits;
        let mount = options.mount.as_deref().map(MountPath::parse).transpose();
        let access = access(&options)?;
        let ledger = ledger(options.ledger, &options.store);
        for (flag, is_set, purpose) in [
            ("--deliveries", options.deliveries.is_some(), "keeps the events"),
            ("--audit", options.audit, "has the audit trail"),
            ("--audit-file", options.audit_file.is_some(), "has the audit trail"),
            ("--policy", options.policy.is_some(), "knows the age of the files"),
            (
                "--deletion-webhook",
                options.deletion_webhook.is_some(),
                "keeps the requests",
            ),
        ] {
            if is_set && ledger.is_none() {
                return Err(format!(
                    "{flag} needs a ledger, which {purpose}: set --ledger sqlite:PATH"
                ));
            }
        }
        let deletion_webhook = deletion_webhook(options.deletion_webhook, options.deletion_webhook_secret_file)?;
        Ok(Self {
            access,
            audit: options.audit,
            audit_file: options.audit_file,
            limits: Limits {
                max_body: limits.max_body.as_u64(),
                max_metadata: bytes("--max-metadata", limits.max_metadata)?,
                max_head: bytes("--max-head", limits.max_head)?,
                max_requests: limits.max_requests,
                max_requests_per_address: limits.max_requests_per_address,
                retry_window: limits.retry_window,
            },
            timeouts: Timeouts {
                head: limits.head_timeout,
                idle: limits.idle_timeout,
                stall: limits.stall_timeout,
            },
            connections: ConnectionLimits {
                per_address: options.connections.max_connections_per_address,
                total: options.connections.max_connections,
            },
            mount: mount.map_err(|error| format!("--mount: {error}"))?,
            ledger,
            deliveries: options.deliveries,
            policy: options.policy,
            deletion_webhook,
            store: store(options.store)?,
            tls: tls(options.tls),
            settings: options.settings,
            key: options.key,
            base64: match options.base64 {
                Base64Mode::Detect => Base64::Detect,
                Base64Mode::Declared => Base64::Declared,
                Base64Mode::Off => Base64::Off,
            },
            log: match options.log_format {
                cli::LogFormat::Text => LogFormat::Text,
                cli::LogFormat::Json => LogFormat::Json,
            },
            listen: options.listen,
            admin: admin(options.admin),
            grace: options.grace,
            secret_files: options.secret_files,
        })
    }
}

fn admin(options: AdminOptions) -> Option<AdminConfig> {
    let address = options.admin?;
    Some(AdminConfig {
        address,
        token_file: options.admin_token_file,
        hosts: options.admin_host,
    })
}

fn deletion_webhook(path: Option<String>, secret: Option<PathBuf>) -> Result<Option<WebhookConfig>, String> {
    // clap requires either both or neither.
    let Some((path, secret)) = path.zip(secret) else {
        return Ok(None);
    };
    let path = MountPath::parse(&path).map_err(|error| format!("--deletion-webhook: {error}"))?;
    Ok(Some(WebhookConfig { path, secret }))
}

fn bytes(flag: &str, Size(size): Size) -> Result<usize, String> {
    usize::try_from(size).map_err(|_| format!("{flag}: {size} bytes are more than this machine can address"))
}

/// Closed by default: an address that other machines can reach needs rules, or the operator's consent.
fn access(options: &ServeOptions) -> Result<Access, String> {
    if let Some(file) = &options.access {
        return Ok(Access::Rules(file.clone()));
    }
    let address = options.listen;
    if options.allow_anyone || is_loopback(address) {
        return Ok(Access::Anyone);
    }
    Err(format!(
        "--listen {address} would let anyone who can connect store and fetch every file; set the access rules with \
         --access FILE, or pass --allow-anyone"
    ))
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Returns the ledger that `location` names, or the default one of the store.
pub(crate) fn ledger(location: Option<LedgerLocation>, store: &StoreOptions) -> Option<LedgerConfig> {
    let (location, directory) = match (location, &store.store) {
        (Some(LedgerLocation::At(location)), _) => (location, None),
        (None, Location::Directory(root)) => {
            // No key has a segment with a leading dot.
            let directory = root.join(".ledger");
            let location = kazoo_storage_ledger::Location::sqlite(directory.join("files.sqlite"));
            (location, Some(directory))
        }
        (Some(LedgerLocation::None), _) | (None, Location::Bucket { .. }) => return None,
    };
    Some(LedgerConfig {
        location,
        directory,
        durable: !store.no_fsync,
    })
}

pub(crate) fn store(options: StoreOptions) -> Result<StoreConfig, String> {
    let location = &options.store;
    match options.store {
        Location::Directory(_)
            if options.presign.is_some()
                || options.bucket.s3_endpoint.is_some()
                || options.bucket.s3_region.is_some() =>
        {
            Err(format!(
                "--presign, --s3-endpoint and --s3-region apply to an object store, but --store {location} is a directory"
            ))
        }
        Location::Directory(root) => Ok(StoreConfig::Directory {
            root,
            durable: !options.no_fsync,
            verify: options.verify_on_read,
        }),
        Location::Bucket { .. } if options.no_fsync || options.verify_on_read => Err(format!(
            "--no-fsync and --verify-on-read apply to a directory, but --store {location} is an object store"
        )),
        Location::Bucket { cloud, url, prefix } => Ok(StoreConfig::Bucket(BucketConfig {
            cloud,
            url,
            prefix,
            endpoint: options.bucket.s3_endpoint,
            region: options.bucket.s3_region,
            deadline: options.bucket.store_deadline,
            presign: options.presign,
        })),
    }
}

fn tls(options: TlsOptions) -> Option<TlsConfig> {
    // clap requires either both files or neither.
    let (cert, key) = options.tls_cert.zip(options.tls_key)?;
    Some(TlsConfig {
        cert,
        key,
        client_ca: options.tls_client_ca,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(options: &[&str]) -> Result<Config, String> {
        let arguments = ["kazoo-storage", "serve"].iter().chain(options);
        let Command::Serve(options) = Cli::parse_from(arguments).command else {
            panic!("not `serve`")
        };
        Config::try_from(*options)
    }

    #[test]
    fn an_address_beyond_loopback_requires_access_rules() {
        let anyone = |options: &[&str]| config(options).map(|config| matches!(config.access, Access::Anyone));
        for loopback in ["127.0.0.1:80", "127.1.2.3:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(anyone(&["--listen", loopback]), Ok(true), "{loopback}");
        }
        for public in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            assert!(anyone(&["--listen", public]).is_err(), "{public}");
            assert_eq!(
                anyone(&["--listen", public, "--access=rules.json"]),
                Ok(false),
                "{public}"
            );
            assert_eq!(anyone(&["--listen", public, "--allow-anyone"]), Ok(true), "{public}");
        }
    }

    #[test]
    fn refuses_flags_of_another_kind_of_store() {
        for (options, named) in [
            (["--store=./data", "--presign=60s"], "--presign"),
            (["--store=./data", "--s3-region=here"], "--s3-region"),
            (["--store=s3://bucket", "--no-fsync"], "--no-fsync"),
            (["--store=gs://bucket", "--verify-on-read"], "--verify-on-read"),
        ] {
            let error = config(&options).map(|_| ()).unwrap_err();
            assert!(error.contains(named) && error.contains("--store"), "{error}");
        }
    }

    #[test]
    fn flags_of_the_ledger_require_one() {
        for (options, accepted) in [
            (&["--store=./data"][..], true),
            (&["--store=./data", "--ledger=none"], false),
            (&["--store=s3://bucket"], false),
            (&["--store=s3://bucket", "--ledger=sqlite:/ledger"], true),
        ] {
            for flags in [
                &["--deliveries=deliveries.json"][..],
                &["--policy=policy.toml"],
                &["--deletion-webhook=/hook", "--deletion-webhook-secret-file=secret"],
            ] {
                let options = [options, flags].concat();
                let error = config(&options).map(|_| ()).err();
                assert_eq!(error.is_none(), accepted, "{options:?}");
                assert!(error.is_none_or(|error| error.contains("set --ledger")));
            }
        }
    }

    #[test]
    fn refuses_a_mount_that_is_not_the_path_of_a_url() {
        for mount in ["relative", "/a?b", "/a b", ""] {
            let error = config(&[&format!("--mount={mount}")]).map(|_| ()).unwrap_err();
            assert!(error.starts_with("--mount: "), "{error}");
        }
    }
}
