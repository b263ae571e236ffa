//! [`Address`]: the URL of a database.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result};
use percent_encoding::percent_decode_str;
use tokio_postgres::config::{Config, Host, SslMode, TargetSessionAttrs};

/// Time to connect to a host.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

const EXPECTED: &str = "expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE`";

/// A database, its user, and how to connect. `Debug` and `Display` show no password.
#[derive(Clone)]
pub(crate) struct Address {
    config: Config,
    transport: Transport,
}

/// The protection of the connections.
#[derive(Clone)]
pub(super) enum Transport {
    Plain,
    /// TLS, and the file with the authorities that are trusted besides those of the system.
    Tls(Option<PathBuf>),
}

impl Address {
    /// Parses a URL, whose parameters are those of `tokio_postgres`, `sslmode` and `sslrootcert`.
    pub(crate) fn parse(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut authorities) = (None, None);
        let mut others = String::new();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => {
                    let path = percent_decode_str(value).decode_utf8();
                    authorities = Some(PathBuf::from(
                        path.map_err(|_| invalid("`sslrootcert` is not UTF-8"))?.as_ref(),
                    ));
                }
                _ => {
                    others.push(if others.is_empty() { '?' } else { '&' });
                    others.push_str(parameter);
                }
            }
        }
        let mut config: Config = format!("{base}{others}")
            .parse()
            .map_err(|error: tokio_postgres::Error| {
                // Its source names the parameter, and never a value.
                let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                invalid(&format!("{EXPECTED}: {reason}"))
            })?;
        if config.get_hosts().is_empty() {
            return Err(invalid(&format!("{EXPECTED}: there is no host")));
        }
        let verified = match mode {
            Some("disable") => false,
            Some("require" | "verify-full") => true,
            Some(_) => {
                return Err(invalid(
                    "`sslmode` must be `verify-full`, which `require` is too, or `disable`",
                ));
            }
            None if authorities.is_some() => true,
            None if config.get_hosts().iter().all(is_local) => false,
            None => {
                return Err(invalid(
                    "add `?sslmode=verify-full`, or `?sslmode=disable` if the network is private",
                ));
            }
        };
        config
            .ssl_mode(if verified { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(CONNECT)
            // Of several hosts, the one that is the primary.
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_application_name().is_none() {
            config.application_name("kazoo-storage");
        }
        Ok(Self {
            config,
            transport: if verified {
                Transport::Tls(authorities)
            } else {
                Transport::Plain
            },
        })
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => name == "localhost" || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.to_owned())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (position, host) in self.config.get_hosts().iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{}", path.display())?,
            }
            if let Some(port) = ports.get(position).or_else(|| ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        match self.config.get_dbname() {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}
