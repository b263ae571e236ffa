//! Checks of the URL in KAZOO's settings.

use http::Uri;

use super::{SEPARATORS, StorageUrl, invalid};
use crate::{
    error::Result,
    normalize::{escapes, normalize_path},
};

/// Hosts that KAZOO's default configuration refuses.
const REFUSED_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "0.0.0.0"];

/// Returns the error message for a URL whose user or password contains an unescaped delimiter.
pub(super) fn userinfo_fault(url: &str) -> Option<&'static str> {
    ends_early(url).then_some(
        "the user or the password in the URL contains an unescaped delimiter: write `@` as `%40`, `:` as `%3A`, `/` as `%2F`, \
         `?` as `%3F`, `#` as `%23` and `%` as `%25`; KAZOO sends the escapes unchanged, and kazoo-storage decodes them",
    )
}

fn ends_early(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    if let Some((userinfo, _)) = authority.rsplit_once('@') {
        return userinfo.contains('@') || userinfo.matches(':').count() > 1;
    }
    // The text in place of the port is the beginning of a password.
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    let port = after_host.rsplit_once(':').map(|(_, port)| port);
    after.contains('@') && port.is_some_and(|port| !port.bytes().all(|byte| byte.is_ascii_digit()))
}

impl StorageUrl {
    /// Rejects a URL of the settings that no KAZOO release can store files under.
    pub(crate) fn check(&self) -> Result<()> {
        if let Some(fault) = userinfo_fault(self.as_str()) {
            return Err(invalid(fault));
        }
        self.check_user()?;
        let (address, _) = super::split_off(self.as_str(), '#');
        if Uri::try_from(address).is_err() {
            return Err(invalid(
                "`url` contains a character that no request can contain: percent-encode it, a space as `%20`",
            ));
        }
        let path = self.path();
        if path.starts_with("//") && !path.trim_matches('/').is_empty() {
            return Err(invalid("the path of `url` begins with `//`; write one slash"));
        }
        if escapes(path).split('/').any(|segment| segment == "..") {
            return Err(invalid(
                "the path of `url` has a `..` segment: KAZOO on Erlang since OTP 22 removes it and the segment before it, and on older \
                 Erlang sends it unchanged; write the resulting path",
            ));
        }
        Ok(())
    }

    /// Rejects a URL with a user, no password and no `:` after it, on which KAZOO since 4.3.77 crashes.
    pub fn check_user(&self) -> Result<()> {
        let (_, rest) = self.as_str().split_once("://").unwrap_or_default();
        match rest.split_once(SEPARATORS) {
            Some((user, host)) if rest.as_bytes().get(user.len()) == Some(&b'@') && !host.contains(':') => {
                Err(invalid(
                    "the URL has a user without a password, and no port: KAZOO since 4.3.77 crashes on it; write the port too, such as `:80` \
                 or `:443`",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Returns the normalized path, without a slash at its end unless it is `/`.
    pub(crate) fn mount(&self) -> String {
        match normalize_path(self.path()).trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        }
    }

    /// Returns warnings about the host and the spelling.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let host = self.host();
        if REFUSED_HOSTS.contains(&host) {
            warnings.push(format!(
                "KAZOO refuses the host `{host}` unless its configuration is changed; use an address of the network"
            ));
        }
        if self.has_ipv6_host() {
            warnings.push(
                "the host in `url` is an IPv6 address, which KAZOO may not be able to send to; use a name that resolves to it"
                    .to_owned(),
            );
        }
        let (path, others) = (self.path(), [self.userinfo(), self.query()]);
        if normalize_path(path) != path || others.into_iter().flatten().any(|text| escapes(text) != text) {
            warnings.push(
                "KAZOO on Erlang since OTP 22 sends `url` in a different spelling: kazoo-storage accepts both spellings, but a proxy or \
                 another server may not; write letters, digits and `-._~` unescaped, other escapes in upper case, and no `.` between \
                 slashes"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Returns the name of the query parameter that KAZOO appends the names of files to, if the URL has a query.
    pub(crate) fn key_parameter(&self) -> Result<Option<String>> {
        let Some(query) = self.query() else { return Ok(None) };
        let (others, last) = query.rsplit_once('&').unwrap_or(("", query));
        let name = match last.split_once('=') {
            Some((name, "")) if !name.is_empty() => name,
            _ => {
                return Err(invalid(
                    "KAZOO appends the names of files to the query of `url`, so they become part of its last parameter; end the query with \
                     the name of a parameter and `=`, such as `?recording=`",
                ));
            }
        };
        let mut names = others.split('&').filter_map(|other| other.split_once('='));
        if names.any(|(other, _)| other == name) {
            return Err(invalid(
                "the query of `url` has two parameters with the name of the last one, which KAZOO appends the names of files to; remove \
                 the other one",
            ));
        }
        Ok(Some(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str) -> Result<StorageUrl> {
        let url = StorageUrl::parse(url)?;
        url.check().map(|()| url)
    }

    fn message(url: &str) -> String {
        checked(url).unwrap_err().message().to_owned()
    }

    #[test]
    fn refuses_urls_that_kazoo_cannot_send_to() {
        for (url, says) in [
            ("", "not a URL"),
            ("/some_prefix", "not a URL"),
            ("ftp://h/p", "not a URL"),
            ("http:///p", "not a URL"),
            ("http://h/a b", "percent-encode"),
            ("http://token@h/p", "write the port too"),
            ("http://h//p", "one slash"),
            ("http://h/a/../p", "a `..` segment"),
            ("http://h/a/%2e%2E", "a `..` segment"),
            ("http://user:pa@ss@h:80/p", "`%40`"),
            ("http://user:pa/ss@h:80/p", "`%2F`"),
            ("http://user:pa?ss@h/p", "`%3F`"),
            ("http://user:pa#ss@h/p", "`%23`"),
            // KAZOO since 4.3.106 loses the first `:` on a fetch, so the second separates a different user and
            // password.
            ("http://user:pa:ss@h/p", "`%3A`"),
        ] {
            assert!(message(url).contains(says), "{url}: {}", message(url));
        }
    }

    #[test]
    fn no_message_contains_a_secret_of_the_url() {
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
            let url = checked(&format!("http://h/p?{query}")).unwrap();
            let error = url.key_parameter().unwrap_err();
            assert!(!error.message().contains("secret"), "{query}: {error}");
        }
    }

    #[test]
    fn accepts_urls_that_kazoo_can_send_to() {
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
            let checked = checked(url).unwrap();
            assert_eq!(checked.warnings(), [""; 0], "{url}");
            assert_eq!(checked.mount(), path, "{url}");
        }
    }

    #[test]
    fn warns_of_urls_that_may_fail() {
        for (url, says) in [
            ("http://localhost/p", "refuses the host"),
            ("http://127.0.0.1:80/p", "refuses the host"),
            ("http://user:secret@0.0.0.0:8080/p", "refuses the host `0.0.0.0`"),
            ("http://[2001:db8::1]:8080/p", "IPv6"),
            ("http://h/pre%2Dfix/./x", "different spelling"),
            ("http://h/pre%2dfix", "different spelling"),
            ("http://h/%c3%bc", "different spelling"),
            ("http://us%65r:secret@h/p", "different spelling"),
            ("http://h/p?rec%6Frding=", "different spelling"),
        ] {
            let warnings = checked(url).unwrap().warnings();
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
            assert_eq!(checked(url).unwrap().mount(), path, "{url}");
        }
    }

    #[test]
    fn a_user_needs_a_colon_after_it() {
        let url = |text: &str| StorageUrl::parse(text).unwrap();
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

    #[test]
    fn the_query_ends_with_the_parameter_that_holds_the_key() {
        let parameter = |query: &str| checked(&format!("http://h/p?{query}")).unwrap().key_parameter();
        assert_eq!(parameter("recording=").unwrap().unwrap(), "recording");
        assert_eq!(parameter("key=abc&recording=").unwrap().unwrap(), "recording");
        for (query, says) in [
            ("", "last parameter"),
            ("key", "last parameter"),
            ("key=abc", "last parameter"),
            ("recording=&key=abc", "last parameter"),
            ("=", "last parameter"),
            ("recording=1&recording=", "two parameters"),
        ] {
            let error = parameter(query).unwrap_err();
            assert!(error.message().contains(says), "{query}: {error}");
        }
        assert_eq!(checked("http://h/p").unwrap().key_parameter().unwrap(), None);
    }
}
