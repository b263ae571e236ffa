//! The URL in the settings, and what KAZOO makes of it.

use std::net::{IpAddr, Ipv6Addr};

use http::{Uri, uri::Authority};

use super::invalid;
use crate::error::Result;

/// Hosts that KAZOO's configuration refuses unless it is changed.
const REFUSED: [&str; 3] = ["localhost", "127.0.0.1", "0.0.0.0"];

pub(super) struct SettingsUrl {
    authority: Authority,
    path: String,
    query: Option<Query>,
    fragment: bool,
}

/// The query of the URL, to which KAZOO appends the key.
#[derive(Clone)]
pub(super) struct Query(String);

impl SettingsUrl {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let no_url = || {
            invalid(format!(
                "`url` is `{}`, which is no URL with a host, such as `http://storage.example.com:8080/some_prefix`",
                redacted(text)
            ))
        };
        let no_userinfo = || {
            invalid(
                "what stands between `//` and the path of `url` is no host with a user; write `user:password@host:port`, and not \
                 `user@password:host`, which no KAZOO can send",
            )
        };
        let (address, fragment) = text
            .split_once('#')
            .map_or((text, false), |(address, _)| (address, true));
        let uri: Uri = address
            .parse()
            .map_err(|_| if address.contains('@') { no_userinfo() } else { no_url() })?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri
            .authority()
            .filter(|authority| is_http && !authority.host().is_empty());
        let authority = authority.ok_or_else(no_url)?.clone();
        if authority.as_str().contains('@') && authority.port().is_none() {
            return Err(invalid(
                "`url` has a user, and no port: KAZOO since 4.3.77 crashes on that; write the port too, such as `:80` or `:443`",
            ));
        }
        if authority.host().starts_with('[') || authority.host().parse::<Ipv6Addr>().is_ok() {
            return Err(invalid(
                "the host in `url` is an IPv6 address, which KAZOO does not read; use a name that resolves to it",
            ));
        }
        Ok(Self {
            path: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().map(|query| Query(query.to_owned())),
            authority,
            fragment,
        })
    }

    pub(super) fn has_fragment(&self) -> bool {
        self.fragment
    }

    pub(super) fn query(&self) -> Option<&Query> {
        self.query.as_ref()
    }

    pub(super) fn into_path(self) -> String {
        if self.path.is_empty() {
            "/".to_owned()
        } else {
            self.path
        }
    }

    /// What may fail because of the host, the credentials or the path.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let host = self.authority.host();
        let loopback = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if REFUSED.contains(&host) || loopback {
            warnings.push(format!(
                "KAZOO refuses the host `{host}` unless its configuration is changed; use an address of the network"
            ));
        }
        if self.path.split('/').any(|segment| matches!(segment, "." | "..")) || self.path.contains("%2D") {
            warnings.push(
                "the path of `url` has parts that KAZOO's newer releases write in another way: without `.`, `..` and escapes that \
                 are not needed it is the same in all"
                    .to_owned(),
            );
        }
        warnings
    }
}

impl Query {
    /// The name of the parameter that holds the key.
    pub(super) fn parameter(&self) -> Result<String> {
        let last = self.0.rsplit('&').next().unwrap_or_default();
        match last.split_once('=') {
            Some((name, "")) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(invalid(format!(
                "KAZOO appends the file's name to the query of `url`, where `{last}` swallows it; let the query end with the name of a \
                 parameter and `=`, such as `?recording=`"
            ))),
        }
    }
}

/// `url` without a user and a password.
fn redacted(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, rest))) => format!("{scheme}://…@{rest}"),
        (None, Some((_, rest))) => format!("…@{rest}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(url: &str) -> String {
        SettingsUrl::parse(url).map(|_| ()).unwrap_err().message().to_owned()
    }

    #[test]
    fn what_kazoo_cannot_send_to_is_refused_with_a_reason() {
        for (url, says) in [
            ("", "no URL"),
            ("/some_prefix", "no URL"),
            ("ftp://h/p", "no URL"),
            ("http:///p", "no URL"),
            ("http://token@h/p", "write the port too"),
            ("http://user:secret@h/p", "write the port too"),
            ("http://[2001:db8::1]:8080/p", "IPv6"),
        ] {
            assert!(message(url).contains(says), "{url}: {}", message(url));
        }
        assert!(!message("ht tp://user:secret@h:80/p").contains("secret"));
    }

    #[test]
    fn what_kazoo_can_send_to_is_taken() {
        for (url, path) in [
            ("http://h", "/"),
            ("http://h/", "/"),
            ("https://h:8443/p//", "/p"),
            ("http://user:p%40ss@h:80/a/b", "/a/b"),
            ("http://token@h:80/a?x=", "/a"),
            ("http://h/p#frag", "/p"),
        ] {
            let parsed = SettingsUrl::parse(url).unwrap();
            assert_eq!(parsed.warnings(), [""; 0], "{url}");
            assert_eq!(parsed.into_path(), path, "{url}");
        }
    }

    #[test]
    fn hosts_that_kazoo_blacklists_are_warned_of() {
        for host in ["localhost", "127.0.0.1", "127.0.0.2:80", "0.0.0.0:8080"] {
            let warnings = SettingsUrl::parse(&format!("http://{host}/p")).unwrap().warnings();
            assert!(warnings[0].contains("refuses the host"), "{host}");
        }
        let odd = SettingsUrl::parse("http://h/pre%2Dfix/./x").unwrap().warnings();
        assert_eq!(odd.len(), 1);
    }

    #[test]
    fn a_query_ends_with_the_parameter_that_the_key_goes_into() {
        let parameter = |query: &str| Query(query.to_owned()).parameter();
        assert_eq!(parameter("recording=").unwrap(), "recording");
        assert_eq!(parameter("key=abc&recording=").unwrap(), "recording");
        for swallows in ["", "key", "key=abc", "recording=&key=abc", "="] {
            assert!(
                parameter(swallows).unwrap_err().message().contains("swallows"),
                "{swallows}"
            );
        }
    }
}
