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
        let mut secrets = [url.sensitive_parts(), url.normalized().sensitive_parts()].concat();
        secrets.retain(|text| text.len() >= Self::SHORTEST);
        // Longest first, because a secret may contain a shorter one.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// `text`, which another wrote, without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, secret| text.replace(&**secret, "…"))
    }
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
