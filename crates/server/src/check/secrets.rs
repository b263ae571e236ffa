//! [`Secrets`]: what must not be seen of a URL.

use kazoo_storage_client::StorageUrl;

/// What the user, the password, the path and the query of a URL are, each of which may be a secret.
#[derive(Debug)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Shorter ones stand in every text, and are none.
    const SHORTEST: usize = 3;

    pub(crate) fn of(url: &StorageUrl) -> Self {
        // A response may repeat either spelling of the URL.
        let mut secrets = [Self::parts(url), Self::parts(&url.normalized())].concat();
        // Longest first, because a secret may contain a shorter one.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    fn parts(url: &StorageUrl) -> Vec<String> {
        let (_, rest) = url.as_str().split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (userinfo, _) = authority.rsplit_once('@').unwrap_or_default();
        userinfo
            .split(':')
            .chain(path.split(['/', '?', '#', '&', '=']))
            .flat_map(|text| {
                let decoded = percent_encoding::percent_decode_str(text);
                [text.to_owned(), decoded.decode_utf8_lossy().into_owned()]
            })
            .filter(|text| text.len() >= Self::SHORTEST)
            .collect()
    }

    /// `text`, which another wrote, without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(&**secret, "…"))
    }
}

/// What may be shown of `url`.
pub(crate) fn target(url: &StorageUrl) -> String {
    let scheme = if url.is_https() { "https" } else { "http" };
    let host = url.host();
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    format!("{scheme}://{host}:{}", url.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_url_but_the_host_is_left() {
        let url = StorageUrl::parse("http://user:p%40ss@host:80/prefix/token?key=abc&r=").unwrap();
        let text = "user:p@ss and p%40ss, userp%40ss at host:80/prefix/token?key=abc&r=";
        assert_eq!(Secrets::of(&url).hide(text), "…:… and …, …… at host:80/…/…?…=…&r=");
        let rewritten = StorageUrl::parse("http://host/a%2Db%40c").unwrap();
        assert_eq!(Secrets::of(&rewritten).hide("a%2Db%40c a-b%40c a-b@c"), "… … …");
        let plain = StorageUrl::parse("http://host").unwrap();
        assert_eq!(Secrets::of(&plain).hide(text), text);
    }
}
