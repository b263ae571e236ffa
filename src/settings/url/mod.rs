//! [`StorageUrl`]: the URL that KAZOO keeps in its settings and with each stored file.

mod check;

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::{
    error::{Error, ErrorKind, Result},
    normalize::{escapes, normalize_path},
};

/// Characters that end the host or the userinfo before it.
const SEPARATORS: [char; 5] = ['/', '?', '#', '@', ':'];

/// An `http` or `https` URL of KAZOO's storage, including the credentials.
///
/// KAZOO appends text to the URL in its settings and keeps the result with each stored file. This type does the same:
/// it keeps the text unchanged, and splits it without decoding it. `Debug` shows the [`origin`](Self::origin) only,
/// because the user, the path and the query may be secrets.
///
/// ```
/// use kazoo_storage::settings::StorageUrl;
///
/// let url = StorageUrl::parse("http://user:secret@storage.example.com:8080/some_prefix/")?;
/// assert_eq!(url.origin(), "http://storage.example.com:8080");
/// assert_eq!(url.userinfo(), Some("user:secret"));
/// assert_eq!(url.with_name("ACCOUNT/DOCUMENT/a.mp3").path(), "/some_prefix/ACCOUNT/DOCUMENT/a.mp3");
/// # Ok::<(), kazoo_storage::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StorageUrl {
    text: String,
    port: u16,
}

/// The parts of a URL, as written.
#[derive(Clone, Copy, Default)]
struct Parts<'a> {
    scheme: &'a str,
    userinfo: Option<&'a str>,
    host_and_port: &'a str,
    /// The path and the query.
    target: &'a str,
    fragment: Option<&'a str>,
}

impl StorageUrl {
    /// Parses an `http` or `https` URL with a host.
    ///
    /// Returns [`ErrorKind::InvalidRequest`] for any other text. The message never contains the text, which may be a
    /// secret.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let port = Parts::split(&text).and_then(|parts| parts.port()).ok_or_else(|| {
            let fault = if text.contains('@') {
                "the URL has no valid host after its user: write `user:password@host:port`, not `user@password:host`"
            } else {
                "not a URL that KAZOO can send to: it begins with `http://` or `https://`, followed by `user:password@` if there are \
                 credentials, the host, and `:PORT` if needed, such as `http://storage.example.com:8080/some_prefix`"
            };
            invalid(check::userinfo_fault(&text).unwrap_or(fault))
        })?;
        Ok(Self { text, port })
    }

    /// Returns the whole URL, including the credentials.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns `true` if the scheme is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme().eq_ignore_ascii_case("https")
    }

    /// Returns the scheme.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.parts().scheme
    }

    /// Returns the user and the password, as written.
    #[must_use]
    pub fn userinfo(&self) -> Option<&str> {
        self.parts().userinfo
    }

    /// Returns the host and the port, as written.
    #[must_use]
    pub fn host_and_port(&self) -> &str {
        self.parts().host_and_port
    }

    /// Returns the host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.parts().host().unwrap_or_default()
    }

    /// Returns the port: 80 or 443 by default.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the scheme, the host and the port: the parts that are never secret.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_https() { "https" } else { "http" };
        let host = self.host();
        if self.has_ipv6_host() {
            format!("{scheme}://[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }

    /// Returns the path and the query, as written; empty if the URL has neither.
    #[must_use]
    pub fn path_and_query(&self) -> &str {
        self.parts().target
    }

    /// Returns the path, as written.
    #[must_use]
    pub fn path(&self) -> &str {
        split_off(self.path_and_query(), '?').0
    }

    /// Returns the query, as written.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        split_off(self.path_and_query(), '?').1
    }

    /// Returns the fragment, as written.
    #[must_use]
    pub fn fragment(&self) -> Option<&str> {
        self.parts().fragment
    }

    /// Returns the parts that may be secrets, as written and decoded: user, password, segments of the path, names and
    /// values of the query.
    #[must_use]
    pub fn sensitive_parts(&self) -> Vec<String> {
        let parts = self.parts();
        let userinfo = parts.userinfo.unwrap_or_default().split(':');
        let target = parts.target.split(['/', '?', '&', '=']);
        userinfo
            .chain(target)
            .chain(parts.fragment.unwrap_or_default().split(['/', '?', '&', '=']))
            .filter(|text| !text.is_empty())
            .flat_map(|text| {
                let decoded = percent_decode_str(text).decode_utf8_lossy();
                [text.to_owned(), decoded.into_owned()]
            })
            .collect()
    }

    /// Returns this URL as KAZOO's HTTP client on Erlang since OTP 22
    /// [normalizes](crate::normalize::normalize_path) it for a request.
    ///
    /// The port stays as written, because it does not change the request.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let Parts {
            scheme,
            userinfo,
            host_and_port,
            fragment,
            ..
        } = self.parts();
        let mut text = format!("{}://", scheme.to_ascii_lowercase());
        if let Some(userinfo) = userinfo {
            text = text + &escapes(userinfo) + "@";
        }
        text = text + &host_and_port.to_ascii_lowercase() + &normalize_path(self.path());
        if let Some(query) = self.query() {
            text = text + "?" + &escapes(query);
        }
        if let Some(fragment) = fragment {
            text = text + "#" + &escapes(fragment);
        }
        self.with_text(text)
    }

    /// Returns this URL with the name of a file appended: after one slash, or directly after a query.
    #[must_use]
    pub fn with_name(&self, name: &str) -> Self {
        self.appended(self.text.trim_end_matches('/'), name)
    }

    /// Returns this URL with the name of a file appended, and keeps the slashes at its end.
    #[must_use]
    pub fn with_name_untrimmed(&self, name: &str) -> Self {
        self.appended(&self.text, name)
    }

    /// Returns this URL with `query` appended to its query, or as its query.
    #[must_use]
    pub fn with_query(&self, query: &str) -> Self {
        if query.is_empty() {
            return self.clone();
        }
        let separator = if self.query().is_some() { '&' } else { '?' };
        let (address, fragment) = split_off(&self.text, '#');
        self.with_text(match fragment {
            Some(fragment) => format!("{address}{separator}{query}#{fragment}"),
            None => format!("{address}{separator}{query}"),
        })
    }

    /// Returns this URL after KAZOO since 4.3.106 has split and reassembled it for a fetch.
    ///
    /// KAZOO takes the text after the first `:` for a port. If no digits follow, the `:` is lost, so the credentials
    /// change, and an IPv6 address becomes another host.
    pub fn reassembled(&self) -> Result<Self> {
        let (scheme, rest) = self.text.split_once("://").unwrap_or_default();
        let Some((host, after)) = rest.split_once(':').filter(|(host, _)| !host.contains(SEPARATORS)) else {
            return Ok(self.clone());
        };
        let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let (digits, _) = after.split_at_checked(after.len() - rest.len()).unwrap_or_default();
        Self::parse(match (digits, digits.trim_start_matches('0')) {
            ("", _) => format!("{scheme}://{host}{rest}"),
            (_, "") => format!("{scheme}://{host}:0{rest}"),
            (_, port) => format!("{scheme}://{host}:{port}{rest}"),
        })
    }

    fn appended(&self, text: &str, name: &str) -> Self {
        let separator = if self.query().is_some() { "" } else { "/" };
        self.with_text(format!("{text}{separator}{name}"))
    }

    fn has_ipv6_host(&self) -> bool {
        self.host_and_port().starts_with('[') || self.host().contains(':')
    }

    fn parts(&self) -> Parts<'_> {
        Parts::split(&self.text).unwrap_or_default()
    }

    /// Replaces the text; the authority is the same, so the port is too.
    fn with_text(&self, text: String) -> Self {
        Self { text, port: self.port }
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageUrl")
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}

impl<'a> Parts<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (address, fragment) = split_off(text, '#');
        let (scheme, rest) = address.split_once("://")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (userinfo, host_and_port) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        Some(Self {
            scheme,
            userinfo,
            host_and_port,
            target,
            fragment,
        })
    }

    fn host(&self) -> Option<&'a str> {
        match self.host_and_port.strip_prefix('[') {
            Some(v6) => v6.split(']').next(),
            None => self.host_and_port.split(':').next(),
        }
    }

    /// Returns the port, or `None` if KAZOO cannot send to this URL.
    fn port(&self) -> Option<u16> {
        let default = if self.scheme.eq_ignore_ascii_case("http") {
            80
        } else if self.scheme.eq_ignore_ascii_case("https") {
            443
        } else {
            return None;
        };
        if self
            .userinfo
            .is_some_and(|userinfo| userinfo.is_empty() || userinfo.contains('@'))
        {
            return None;
        }
        let (host, port) = match self.host_and_port.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (host, if port.is_empty() { "" } else { port.strip_prefix(':')? })
            }
            None => self.host_and_port.split_once(':').unwrap_or((self.host_and_port, "")),
        };
        match port {
            _ if host.is_empty() => None,
            "" => Some(default),
            // `parse` takes a sign too.
            port => port
                .parse()
                .ok()
                .filter(|_| port.bytes().all(|byte| byte.is_ascii_digit())),
        }
    }
}

fn split_off(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((front, after)) => (front, Some(after)),
        None => (text, None),
    }
}

fn invalid(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests;
