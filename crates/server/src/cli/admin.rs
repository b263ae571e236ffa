//! The address of the admin endpoint: where `serve` listens, and where commands connect to.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::Args;
use url::Url;

use super::values::address;

/// The prefix of a path to a Unix socket.
const UNIX: &str = "unix:";

/// The admin endpoint of `serve`.
#[derive(Args, Debug)]
pub(crate) struct AdminOptions {
    /// Address and port for the operator, or `unix:PATH` for a Unix socket: `/metrics` for Prometheus, `/healthz`, `/readyz`,
    /// which returns 503 while the store fails and after the first SIGTERM, and below `/v1/` the API that commands such as
    /// `files` use; without this flag there is no such address
    ///
    /// Anyone who can connect to it can read the first three, so restrict who can. They show the names of the receivers of
    /// events, but no accounts, numbers or secrets. The API needs `--admin-token-file`.
    #[arg(long, value_name = "ADDR:PORT")]
    pub(crate) admin: Option<AdminAddress>,

    /// File with the token for the API of `--admin`, at least 32 characters; a file that does not exist is created with a random
    /// token, for its owner only; reloaded on SIGHUP
    ///
    /// Without this flag, the API answers 403.
    #[arg(long, value_name = "FILE", requires = "admin")]
    pub(crate) admin_token_file: Option<PathBuf>,

    /// Names by which clients reach the API of `--admin`, separated by commas, beside `localhost` and the IP address
    ///
    /// A request for another name is refused: a website could have it sent by the operator's browser.
    #[arg(long, value_name = "NAME", value_delimiter = ',', requires = "admin")]
    pub(crate) admin_host: Vec<String>,
}

/// The server of a command that uses the admin endpoint.
#[derive(Args, Debug)]
pub(crate) struct AdminServerOptions {
    /// The server's `--admin`: `ADDR:PORT`, `http://…`, or `unix:PATH`
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9180", global = true)]
    pub(crate) admin: AdminServer,
}

/// The server of a command that uses the API of the admin endpoint.
#[derive(Args, Debug)]
pub(crate) struct AdminClientOptions {
    #[command(flatten)]
    pub(crate) server: AdminServerOptions,

    /// File with the token for the server's API: the same file as the server's `--admin-token-file`
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// The value of `--admin` for `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = unix(text)? {
            return Ok(Self::Unix(path));
        }
        address(text)
            .map(Self::Tcp)
            .map_err(|error| format!("{error}; or unix:PATH"))
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The value of `--admin` for a command: the address to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AdminServer {
    /// Host and port.
    Tcp(String),
    Unix(PathBuf),
}

impl FromStr for AdminServer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = unix(text)? {
            return Ok(Self::Unix(path));
        }
        if text.contains("://") {
            return url(text);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Tcp(reachable(address).to_string()));
        }
        match text.rsplit_once(':') {
            Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => Ok(Self::Tcp(text.to_owned())),
            _ => Err("expected ADDR:PORT, http://ADDR:PORT or unix:PATH".to_owned()),
        }
    }
}

impl fmt::Display for AdminServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => f.write_str(authority),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

fn unix(text: &str) -> Result<Option<PathBuf>, String> {
    match text.strip_prefix(UNIX) {
        Some("") => Err("`unix:` must be followed by the path of the socket".to_owned()),
        path => Ok(path.map(PathBuf::from)),
    }
}

fn url(text: &str) -> Result<AdminServer, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let host = url.host_str().unwrap_or_default();
    let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.path() == "/";
    match (url.scheme(), url.port_or_known_default()) {
        ("http", Some(port)) if is_plain && !host.is_empty() => format!("{host}:{port}").parse(),
        ("http", _) => Err("expected only the address: http://ADDR:PORT".to_owned()),
        _ => Err("the admin address has no TLS: expected http://ADDR:PORT".to_owned()),
    }
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// The server listens on every address of its machine; this is one of them.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_the_address_to_listen_on() {
        let parse = |text: &str| text.parse::<AdminAddress>();
        assert_eq!(parse("127.0.0.1:9180").unwrap().to_string(), "127.0.0.1:9180");
        assert_eq!(parse("unix:/run/x.sock").unwrap().to_string(), "unix:/run/x.sock");
        for bad in ["9180", "localhost:9180", "unix:", "/run/x.sock"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parses_the_address_to_connect_to() {
        let parse = |text: &str| text.parse::<AdminServer>().map(|server| server.to_string());
        for (text, expected) in [
            ("127.0.0.1:9180", "127.0.0.1:9180"),
            ("0.0.0.0:9180", "127.0.0.1:9180"),
            ("[::]:9180", "[::1]:9180"),
            ("storage-1.internal:9180", "storage-1.internal:9180"),
            ("http://storage-1.internal:9180/", "storage-1.internal:9180"),
            ("http://[::1]:9180", "[::1]:9180"),
            ("http://10.0.0.7", "10.0.0.7:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(expected), "{text}");
        }
        for bad in [
            "9180",
            "a:b:9180",
            "https://x:1",
            "http://u:p@x:1",
            "http://x:1/v1",
            "unix:",
            "x y:1",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
