//! The URL in the settings, and what KAZOO makes of it.

use http::{Uri, uri::Authority};

use super::invalid;
use crate::{
    error::Result,
    normalize::{escapes, normalize_path},
};

/// Hosts that KAZOO's configuration refuses unless it is changed.
const REFUSED: [&str; 3] = ["localhost", "127.0.0.1", "0.0.0.0"];

/// Describes the fault of a URL whose user or password has a character that ends them, and how to write it instead.
///
/// `None` if there is no such fault.
#[must_use]
pub fn userinfo_fault(url: &str) -> Option<&'static str> {
    ends_early(url).then_some(
        "the user or the password in the URL has a character that would end it: write `@` as `%40`, `:` as `%3A`, `/` as `%2F`, \
         `?` as `%3F`, `#` as `%23` and `%` as `%25`; KAZOO sends it unchanged, and kazoo-storage decodes it",
    )
}

fn ends_early(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (authority, behind) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        return userinfo.contains('@') || userinfo.matches(':').count() > 1;
    }
    // What stands for the port is the beginning of a password.
    let behind_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    let port = behind_host.rsplit_once(':').map(|(_, port)| port);
    behind.contains('@') && port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// No message shows more of it than the host: user, path and query may hold a secret.
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
            invalid(
                "`url` is no URL that KAZOO can send to: it begins with `http://` or `https://` and has a host, such as \
                 `http://storage.example.com:8080/some_prefix`",
            )
        };
        let no_userinfo = || {
            invalid(
                "what stands between `//` and the path of `url` is no host with a user; write `user:password@host:port`, and not \
                 `user@password:host`, which no KAZOO can send",
            )
        };
        if let Some(fault) = userinfo_fault(text) {
            return Err(invalid(fault));
        }
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
        // It looks for a `:` behind a user that has none before the `@`.
        let user = authority.as_str().split_once('@').map(|(user, _)| user);
        if user.is_some_and(|user| !user.contains(':')) && authority.port().is_none() {
            return Err(invalid(
                "`url` has a user without a password, and no port: KAZOO since 4.3.77 crashes on that; write the port too, such as \
                 `:80` or `:443`",
            ));
        }
        if uri.path().starts_with("//") && !uri.path().trim_matches('/').is_empty() {
            return Err(invalid("the path of `url` begins with `//`; write one slash"));
        }
        if escapes(uri.path()).split('/').any(|segment| segment == "..") {
            return Err(invalid(
                "the path of `url` has a `..` segment, which KAZOO on Erlang since OTP 22 removes together with the segment in front of \
                 it, and on older Erlang does not; write the path that is meant",
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

    /// Returns the normalized path.
    pub(super) fn into_path(self) -> String {
        match normalize_path(&self.path).trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        }
    }

    /// What may fail because of the host or the path.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let host = self.authority.host();
        if REFUSED.contains(&host) {
            warnings.push(format!(
                "KAZOO refuses the host `{host}` unless its configuration is changed; use an address of the network"
            ));
        }
        if host.starts_with('[') {
            warnings.push(
                "the host in `url` is an IPv6 address, and whether KAZOO can send to one is not known; a name that resolves to it is \
                 safe"
                    .to_owned(),
            );
        }
        let user = self.authority.as_str().rsplit_once('@').map_or("", |(user, _)| user);
        let query = self.query.as_ref().map_or("", |Query(query)| query);
        if normalize_path(&self.path) != self.path || [user, query].iter().any(|text| escapes(text) != **text) {
            warnings.push(
                "KAZOO on Erlang since OTP 22 sends `url` in another spelling than it has here: kazoo-storage takes both, and a proxy or \
                 another server may not; write letters, digits and `-._~` unescaped, other escapes in upper case, and no `.` between \
                 slashes"
                    .to_owned(),
            );
        }
        warnings
    }
}

impl Query {
    /// The name of the parameter that holds the key.
    pub(super) fn parameter(&self) -> Result<String> {
        let (others, last) = self.0.rsplit_once('&').unwrap_or(("", &self.0));
        let name = match last.split_once('=') {
            Some((name, "")) if !name.is_empty() => name,
            _ => {
                return Err(invalid(
                    "KAZOO appends the file's name to the query of `url`, whose last parameter swallows it; let the query end with the \
                     name of a parameter and `=`, such as `?recording=`",
                ));
            }
        };
        let names = others.split('&').filter_map(|other| other.split_once('='));
        if names.map(|(name, _)| name).any(|other| other == name) {
            return Err(invalid(
                "the query of `url` has its last parameter, which KAZOO appends the file's name to, a second time; leave the other out",
            ));
        }
        Ok(name.to_owned())
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
            ("http://h//p", "one slash"),
            ("http://h/a/../p", "a `..` segment"),
            ("http://h/a/%2e%2E", "a `..` segment"),
            ("http://user:pa@ss@h:80/p", "`%40`"),
            ("http://user:pa/ss@h:80/p", "`%2F`"),
            ("http://user:pa?ss@h/p", "`%3F`"),
            ("http://user:pa#ss@h/p", "`%23`"),
            // Since 4.3.106 the first is lost on a fetch, and the second ends a user of another name.
            ("http://user:pa:ss@h/p", "`%3A`"),
        ] {
            assert!(message(url).contains(says), "{url}: {}", message(url));
        }
    }

    #[test]
    fn no_message_has_a_secret_of_the_url() {
        for url in [
            "ht tp://user:secret@h:80/p",
            "ftp://h/some_prefix/secret",
            "secret",
            "http://secret@h/secret?secret",
            "http://h//secret",
            "http://user@secret:h/p",
            "http://user:secret@secret@h/p",
        ] {
            assert!(!message(url).contains("secret"), "{url}: {}", message(url));
        }
        for query in ["secret", "key=secret", "recording=secret&recording="] {
            let error = Query(query.to_owned()).parameter().unwrap_err();
            assert!(!error.message().contains("secret"), "{query}: {error}");
        }
    }

    #[test]
    fn what_kazoo_can_send_to_is_taken() {
        for (url, path) in [
            ("http://h", "/"),
            ("http://h/", "/"),
            ("http://h//", "/"),
            ("https://h:8443/p//", "/p"),
            ("http://user:p%40ss@h:80/a/b", "/a/b"),
            ("http://user:secret@h/p@q:r", "/p@q:r"),
            ("http://h:80/p@q:r", "/p@q:r"),
            ("http://user:secret@h/p", "/p"),
            ("http://token@h:80/a?x=", "/a"),
            ("http://127.0.0.2/a%20b/%C3%BC", "/a%20b/%C3%BC"),
            ("http://h/p#frag", "/p"),
        ] {
            let parsed = SettingsUrl::parse(url).unwrap();
            assert_eq!(parsed.warnings(), [""; 0], "{url}");
            assert_eq!(parsed.into_path(), path, "{url}");
        }
    }

    #[test]
    fn what_may_fail_is_warned_of() {
        for (url, says) in [
            ("http://localhost/p", "refuses the host"),
            ("http://127.0.0.1:80/p", "refuses the host"),
            ("http://user:secret@0.0.0.0:8080/p", "refuses the host `0.0.0.0`"),
            ("http://[2001:db8::1]:8080/p", "not known"),
            ("http://h/pre%2Dfix/./x", "another spelling"),
            ("http://h/pre%2dfix", "another spelling"),
            ("http://h/%c3%bc", "another spelling"),
            ("http://us%65r:secret@h/p", "another spelling"),
            ("http://h/p?rec%6Frding=", "another spelling"),
        ] {
            let warnings = SettingsUrl::parse(url).unwrap().warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(says), "{url}: {warnings:?}");
        }
    }

    #[test]
    fn the_mount_is_the_normalized_path() {
        for (url, path) in [
            ("http://h/pre%2Dfix/./x", "/pre-fix/x"),
            ("http://h/p/./", "/p"),
            ("http://h/.", "/"),
            ("http://h/%c3%bc", "/%C3%BC"),
        ] {
            assert_eq!(SettingsUrl::parse(url).unwrap().into_path(), path, "{url}");
        }
    }

    #[test]
    fn a_query_ends_with_the_parameter_that_the_key_goes_into() {
        let parameter = |query: &str| Query(query.to_owned()).parameter();
        assert_eq!(parameter("recording=").unwrap(), "recording");
        assert_eq!(parameter("key=abc&recording=").unwrap(), "recording");
        for (query, says) in [
            ("", "swallows"),
            ("key", "swallows"),
            ("key=abc", "swallows"),
            ("recording=&key=abc", "swallows"),
            ("=", "swallows"),
            ("recording=1&recording=", "a second time"),
        ] {
            let error = parameter(query).unwrap_err();
            assert!(error.message().contains(says), "{query}: {error}");
        }
    }
}
