//! [`AmqpExchange`]: an exchange of an AMQP broker.

use std::{borrow::Cow, fmt};

use kazoo_storage::{Result, digest::Digest};
use percent_encoding::percent_decode_str;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use url::Url;

use crate::delivery::address::{MAX_NAME, invalid};

/// Maximum length of the name of an exchange in AMQP, in bytes.
const MAX_EXCHANGE: usize = 127;

/// Maximum length of a short string of AMQP, in bytes.
const MAX_SHORT: usize = 255;

/// The default interval of the heartbeats, in seconds.
const DEFAULT_HEARTBEAT: u16 = 30;

/// A topic exchange of an AMQP 0.9.1 broker, such as RabbitMQ.
///
/// It becomes a [`Receiver`](crate::delivery::Receiver) with `Receiver::from`. An event is published as a persistent message
/// with the routing key `kazoo_storage.file.stored.ACCOUNT`: the type of the event, and the account. The account is one word:
/// characters other than letters, digits, `-`, `_` and `~` are percent-encoded. It is `-` for a file without an account,
/// and for an account of more than 200 bytes after encoding.
///
/// The exchange is declared as a durable topic exchange. If the user has no permission to do so, it must exist.
///
/// The crate `lapin` logs a returned message at the level `WARN`, with its content: filter it if your log must not contain
/// that. `Debug` shows neither the user nor the password.
#[derive(Clone)]
#[must_use]
pub struct AmqpExchange {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) vhost: String,
    /// Interval of the heartbeats, in seconds.
    pub(super) heartbeat: u16,
    pub(super) exchange: String,
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl AmqpExchange {
    /// The default name of the [exchange](Self::exchange).
    pub const DEFAULT_EXCHANGE: &str = "kazoo_storage";

    /// Publishes events to the broker at `url`: `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://…` for TLS.
    ///
    /// By default the user and the password are `guest`, the port is 5672, or 5671 with TLS, and the virtual host is `/`,
    /// which is written as `%2F`. The only parameter is `heartbeat`, from 1 to 3600 seconds and 30 by default; the broker may choose a shorter one.
    pub fn new(url: &str) -> Result<Self> {
        let url = Url::parse(url).map_err(|error| invalid(&format!("the URL is invalid ({error})")))?;
        let tls = match url.scheme() {
            "amqp" => false,
            "amqps" => true,
            other => {
                return Err(invalid(&format!(
                    "the URL has the scheme `{other}`; use `amqps` or `amqp`"
                )));
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| invalid("the URL has no host"))?;
        if url.fragment().is_some() {
            return Err(invalid("the URL has a fragment; write `#` as `%23`"));
        }
        let (user, password) = match (url.username(), url.password()) {
            ("", None) => ("guest", "guest"),
            (user, Some(password)) => (user, password),
            (_, None) => return Err(invalid("the URL has a user, but no password")),
        };
        Ok(Self {
            tls,
            // IPv6 is in brackets.
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(if tls { 5671 } else { 5672 }),
            user: decode(user, "user")?,
            password: decode(password, "password")?,
            vhost: vhost(url.path())?,
            heartbeat: heartbeat(&url)?,
            exchange: Self::DEFAULT_EXCHANGE.to_owned(),
            authorities: Vec::new(),
        })
    }

    /// Sets the name of the exchange, `kazoo_storage` by default.
    pub fn exchange(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_EXCHANGE || name.chars().any(char::is_control) {
            return Err(invalid(
                "the name of an exchange has 1 to 127 bytes, and no control characters",
            ));
        }
        self.exchange = name;
        Ok(self)
    }

    /// Accepts the certificates of these authorities, in PEM, in place of those that the system trusts.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self> {
        if !self.tls {
            return Err(invalid(
                "the URL has the scheme `amqp`, which is not encrypted; use `amqps`",
            ));
        }
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.authorities = read.unwrap_or_default();
        if self.authorities.is_empty() {
            return Err(invalid("there is no certificate in PEM"));
        }
        Ok(self)
    }

    /// Returns the host, and a digest of the broker, the virtual host and the exchange.
    pub(in crate::delivery) fn default_name(&self) -> String {
        let identity = format!("{}:{}/{}/{}", self.host, self.port, self.vhost, self.exchange);
        let digest = Digest::of(identity.as_bytes()).to_string();
        let host: String = self.host.chars().take(MAX_NAME - 9).collect();
        format!("{host}-{}", digest.get(..8).unwrap_or_default())
    }
}

impl fmt::Debug for AmqpExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpExchange")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

fn vhost(path: &str) -> Result<String> {
    let Some(encoded) = path.strip_prefix('/') else {
        return Ok("/".to_owned());
    };
    if encoded.is_empty() {
        return Err(invalid(
            "the URL ends with `/`, which is the virtual host without a name; remove it for the virtual host `/`",
        ));
    }
    if encoded.contains('/') {
        return Err(invalid("the virtual host has a `/`; write it as `%2F`"));
    }
    let vhost = decode(encoded, "virtual host")?;
    if vhost.len() > MAX_SHORT {
        return Err(invalid("the virtual host has more than 255 bytes"));
    }
    Ok(vhost)
}

fn heartbeat(url: &Url) -> Result<u16> {
    let mut heartbeat = DEFAULT_HEARTBEAT;
    for (name, value) in url.query_pairs() {
        if name != "heartbeat" {
            return Err(invalid("the URL has a parameter other than `heartbeat`"));
        }
        let seconds = value.parse().ok();
        heartbeat = seconds
            .filter(|seconds| (1..=3600).contains(seconds))
            .ok_or_else(|| invalid("`heartbeat` of the URL must be a number of seconds from 1 to 3600"))?;
    }
    Ok(heartbeat)
}

fn decode(encoded: &str, part: &str) -> Result<String> {
    let decoded = percent_decode_str(encoded).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| invalid(&format!("the {part} in the URL is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_urls() {
        let full = AmqpExchange::new("amqps://k%40z:p%2Fw@mq.example.com:5000/a%2Fb?heartbeat=7").unwrap();
        assert_eq!((&*full.host, full.port, full.tls), ("mq.example.com", 5000, true));
        assert_eq!((&*full.user, &*full.password, &*full.vhost), ("k@z", "p/w", "a/b"));
        assert_eq!(full.heartbeat, 7);
        let short = AmqpExchange::new("amqp://[::1]").unwrap();
        assert_eq!((&*short.host, short.port, short.tls), ("::1", 5672, false));
        assert_eq!((&*short.user, &*short.password, &*short.vhost), ("guest", "guest", "/"));
        assert_eq!(AmqpExchange::new("amqps://h").unwrap().port, 5671);
        assert_eq!(AmqpExchange::new("amqp://h/%2f").unwrap().vhost, "/");
    }

    #[test]
    fn a_name_identifies_the_exchange_but_not_the_user() {
        let name = |url: &str| AmqpExchange::new(url).unwrap().default_name();
        assert!(name("amqp://mq.example.com").starts_with("mq.example.com-"));
        assert_eq!(name("amqp://a:b@h/%2F?heartbeat=9"), name("amqps://c:d@h:5672"));
        assert_ne!(name("amqp://h"), name("amqp://h/other"));
        let other = AmqpExchange::new("amqp://h").unwrap().exchange("other").unwrap();
        assert_ne!(name("amqp://h"), other.default_name());
    }

    #[test]
    fn debug_shows_no_credentials() {
        let shown = format!("{:?}", AmqpExchange::new("amqp://kazoo:hunter2@h/v").unwrap());
        assert!(!shown.contains("hunter2") && !shown.contains("kazoo:"), "{shown}");
    }
}
