//! [`StorageUrl`]: a URL as KAZOO has it, in its settings and with each file that it stored.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, uri::PathAndQuery};

use kazoo_storage::{
    Error, ErrorKind, Result,
    settings::raw::{normalize_url, userinfo_fault},
};

/// What may end the host, or what stands in front of it.
const SEPARATORS: [char; 5] = ['/', '?', '#', '@', ':'];

/// A URL as KAZOO has it: that of the settings, or that of a stored file, with the credentials in it.
///
/// KAZOO makes one of another by appending text, so it is kept as the text that it is. `Debug` shows the host alone: user,
/// path and query may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageUrl {
    text: String,
    origin: Origin,
}

/// Where a connection goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

impl StorageUrl {
    /// The URL that `text` is: `http` or `https`, with a host.
    ///
    /// [`ErrorKind::InvalidRequest`] for any other; its message shows nothing of the text.
    pub fn parse(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let origin = origin(&text).ok_or_else(|| {
            not_sent(userinfo_fault(&text).unwrap_or(
                "no URL that KAZOO can send to: it begins with `http://` or `https://`, and has a host, with `user:password@` in \
                 front of it and a port behind it if there are any",
            ))
        })?;
        Ok(Self { text, origin })
    }

    /// The whole URL, with the credentials in it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, as it stands in the URL.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.origin.host
    }

    /// The port, which is 80 or 443 if the URL has none.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.origin.port
    }

    /// Whether it is `https`.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.tls
    }

    /// Returns this URL as KAZOO's HTTP client on Erlang since OTP 22 [normalizes](crate::normalize_path) it for a
    /// request.
    #[must_use]
    pub fn normalized(&self) -> Self {
        self.with_text(normalize_url(&self.text))
    }

    /// Rejects characters that must be escaped: Erlang's HTTP client since OTP 22 sends nothing for them.
    pub(super) fn check_characters(&self) -> Result<()> {
        let (_, target) = self.split_authority();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
        if target.bytes().all(is_plain) {
            Ok(())
        } else {
            Err(not_sent(
                "what KAZOO would ask for has characters that must be escaped: Erlang since OTP 22 sends no request for it",
            ))
        }
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// This URL with `name` appended: behind a slash, or as it is to a query.
    pub(super) fn with_name(&self, name: &str, keeps_slash: bool) -> Self {
        let text = if keeps_slash {
            &*self.text
        } else {
            self.text.trim_end_matches('/')
        };
        let separator = if self.has_query() { "" } else { "/" };
        self.with_text(format!("{text}{separator}{name}"))
    }

    /// This URL with `query` appended to the query it has, or as its query.
    pub(super) fn with_query(&self, query: &str) -> Self {
        if query.is_empty() {
            return self.clone();
        }
        let separator = if self.has_query() { '&' } else { '?' };
        let (address, fragment) = self.split_fragment();
        self.with_text(match fragment {
            Some(fragment) => format!("{address}{separator}{query}#{fragment}"),
            None => format!("{address}{separator}{query}"),
        })
    }

    fn with_text(&self, text: String) -> Self {
        Self {
            text,
            origin: self.origin.clone(),
        }
    }

    fn has_query(&self) -> bool {
        self.split_fragment().0.contains('?')
    }

    fn split_fragment(&self) -> (&str, Option<&str>) {
        match self.text.split_once('#') {
            Some((address, fragment)) => (address, Some(fragment)),
            None => (&self.text, None),
        }
    }

    /// What stands between the scheme and the path.
    fn authority(&self) -> &str {
        self.split_authority().0
    }

    fn split_authority(&self) -> (&str, &str) {
        let (address, _) = self.split_fragment();
        let (_, rest) = address.split_once("://").unwrap_or(("", address));
        rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()))
    }

    /// The target of a request: path and query.
    pub(super) fn target(&self) -> Result<Uri> {
        let (_, target) = self.split_authority();
        let slash = if target.starts_with('/') { "" } else { "/" };
        let target = format!("{slash}{target}");
        PathAndQuery::try_from(target).map(Uri::from).map_err(|error| {
            not_sent("what KAZOO would ask for has characters that no request line can hold, such as a space")
                .with_source(error)
        })
    }

    /// The host and the port, as they are written.
    pub(super) fn host_and_port(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// The header `host`.
    pub(super) fn host_header(&self) -> Result<HeaderValue> {
        HeaderValue::try_from(self.host_and_port())
            .map_err(|error| not_sent("the host is no text of a header").with_source(error))
    }

    /// The header `authorization`, if there are credentials in the URL: KAZOO sends them as they are written there.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>> {
        let Some((userinfo, _)) = self.authority().rsplit_once('@') else {
            return Ok(None);
        };
        let colon = if userinfo.contains(':') { "" } else { ":" };
        let shown = STANDARD.encode(format!("{userinfo}{colon}"));
        let mut value = HeaderValue::try_from(format!("Basic {shown}"))
            .map_err(|error| not_sent("the credentials are no text of a header").with_source(error))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// This URL as it is when KAZOO has taken it apart and put it together again: what follows the first `:` is a port to it,
    /// and without digits there the `:` is lost.
    ///
    /// So the credentials are others, and an IPv6 address is none any more.
    pub(super) fn put_together(&self) -> Result<Self> {
        let (scheme, rest) = self.text.split_once("://").unwrap_or_default();
        let Some((host, behind)) = rest.split_once(':').filter(|(host, _)| !host.contains(SEPARATORS)) else {
            return Ok(self.clone());
        };
        let rest = behind.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let (digits, _) = behind.split_at_checked(behind.len() - rest.len()).unwrap_or_default();
        Self::parse(match (digits, digits.trim_start_matches('0')) {
            ("", _) => format!("{scheme}://{host}{rest}"),
            (_, "") => format!("{scheme}://{host}:0{rest}"),
            (_, port) => format!("{scheme}://{host}:{port}{rest}"),
        })
    }

    /// Refuses what KAZOO crashes on when it takes the URL apart: a user without a password, and no `:` behind it.
    pub(super) fn check_user(&self) -> Result<()> {
        let (_, rest) = self.text.split_once("://").unwrap_or_default();
        match rest.split_once(SEPARATORS) {
            Some((user, host)) if rest.as_bytes().get(user.len()) == Some(&b'@') && !host.contains(':') => Err(
                not_sent("the URL has a user without a password, and no port: KAZOO since 4.3.77 crashes on that"),
            ),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for StorageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageUrl")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

fn origin(text: &str) -> Option<Origin> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.split_once('@') {
        Some((userinfo, host)) if !userinfo.is_empty() && !host.contains('@') => host,
        Some(_) => return None,
        None => authority,
    };
    let (host, port) = match host.strip_prefix('[') {
        Some(v6) => {
            let (address, port) = v6.split_once(']')?;
            (address, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => host
            .split_once(':')
            .map_or((host, Some("")), |(host, port)| (host, Some(port))),
    };
    let port = match port? {
        "" if tls => 443,
        "" => 80,
        port => port.parse().ok()?,
    };
    (!host.is_empty()).then(|| Origin {
        tls,
        host: host.to_owned(),
        port,
    })
}

pub(super) fn not_sent(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> StorageUrl {
        StorageUrl::parse(text).unwrap()
    }

    #[test]
    fn a_url_says_where_to_connect() {
        for (text, tls, host, port) in [
            ("http://h", false, "h", 80),
            ("https://h/p", true, "h", 443),
            ("http://user:1@h:8080?x=", false, "h", 8080),
            ("http://[2001:db8::1]:81/p", false, "2001:db8::1", 81),
            ("https://[::1]#x", true, "::1", 443),
        ] {
            let url = url(text);
            assert_eq!((url.is_https(), url.host(), url.port()), (tls, host, port), "{text}");
        }
        for text in [
            "",
            "h/p",
            "ftp://h",
            "http://",
            "http:///p",
            "http://user@secret:h/p",
            "http://a@b@h/",
            "http://h:x",
            "http://[::1]x/",
        ] {
            let error = StorageUrl::parse(text).unwrap_err();
            assert!(!error.message().contains("secret"), "{text}");
        }
        for text in ["http://u:secret@x@h/", "http://u:secret/x@h/"] {
            let error = StorageUrl::parse(text).unwrap_err();
            assert!(
                error.message().contains("%40") && !error.message().contains("secret"),
                "{error}"
            );
        }
        assert!(!format!("{:?}", url("http://u:secret@h/secret")).contains("secret"));
    }

    #[test]
    fn a_name_is_appended_to_the_path_or_to_the_query() {
        for (base, expected) in [
            ("http://h", "http://h/A/B?q"),
            ("http://h/p//", "http://h/p/A/B?q"),
            ("http://h/p?x=1&r=", "http://h/p?x=1&r=A/B&q"),
            ("http://h/p#f", "http://h/p?q#f/A/B"),
        ] {
            assert_eq!(url(base).with_name("A/B", false).with_query("q").as_str(), expected);
        }
        assert_eq!(url("http://h/p/").with_name("A", true).as_str(), "http://h/p//A");
    }

    #[test]
    fn a_target_is_what_stands_behind_the_host() {
        for (text, target) in [
            ("http://h", "/"),
            ("http://h?x=/y", "/?x=/y"),
            ("http://u@h:1/a/../%2F/ü?b[c]=/#f", "/a/../%2F/ü?b[c]=/"),
        ] {
            assert_eq!(url(text).target().unwrap().to_string(), target);
        }
        let error = url("http://h/a b").target().unwrap_err();
        assert!(error.message().contains("space"), "{error}");
    }

    fn shown(url: &StorageUrl) -> String {
        let header = url.authorization().unwrap().unwrap();
        let encoded = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    #[test]
    fn credentials_are_shown_as_written() {
        for (userinfo, written, put_together) in [
            ("user:p%40ss", "user:p%40ss", "userp%40ss:"),
            ("user:42secret", "user:42secret", "user:42secret"),
            ("user:007secret", "user:007secret", "user:7secret"),
            ("user:00", "user:00", "user:0"),
            ("token", "token:", "token:"),
        ] {
            let url = url(&format!("http://{userinfo}@h:80/p"));
            assert_eq!(shown(&url), written);
            assert_eq!(shown(&url.put_together().unwrap()), put_together);
        }
        assert_eq!(url("http://h/p").authorization().unwrap(), None);
    }

    #[test]
    fn what_is_put_together_has_another_host_if_that_is_an_ipv6_address() {
        for text in [
            "http://h:8080/a:b?c=:#:",
            "https://h/a:b",
            "http://h?x=:",
            "http://token@h:1/",
        ] {
            assert_eq!(url(text).put_together().unwrap().as_str(), text);
        }
        let broken = url("http://[2001:db8::1]:80/p").put_together().unwrap();
        assert_eq!((broken.host(), broken.port()), ("2001db8::1", 80));
    }

    #[test]
    fn a_user_needs_a_colon_behind_it() {
        for text in ["http://token@h/p", "http://token@h?x", "https://token@h"] {
            url(text).check_user().unwrap_err();
        }
        for text in [
            "http://token@h:80/p",
            "http://token@h/p:",
            "http://a:b@h/p",
            "http://h/p@q",
            "http://h",
        ] {
            url(text).check_user().unwrap();
        }
    }
}
