//! [`Secrets`]: the parts of a URL that no output may contain.

use kazoo_storage_client::StorageUrl;

/// The user, the password, the path and the query of a URL, each of which may be a secret.
#[derive(Debug)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// Minimum length of a secret. Shorter texts occur everywhere.
    const MIN_LEN: usize = 3;

    pub(crate) fn of(url: &StorageUrl) -> Self {
        // A response may repeat either spelling of the URL.
        let mut secrets = [url.sensitive_parts(), url.normalized().sensitive_parts()].concat();
        secrets.retain(|text| text.len() >= Self::MIN_LEN);
        // Longest first, because a secret may contain a shorter one.
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        Self(secrets)
    }

    /// Returns `text` with the secrets replaced.
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
    fn hides_everything_but_the_host() {
        let url = StorageUrl::parse("http://user:p%40ss@host:80/prefix/token?key=abc&r=").unwrap();
        let text = "user:p@ss and p%40ss, userp%40ss at host:80/prefix/token?key=abc&r=";
        assert_eq!(Secrets::of(&url).hide(text), "…:… and …, …… at host:80/…/…?…=…&r=");
        let rewritten = StorageUrl::parse("http://host/a%2Db%40c").unwrap();
        assert_eq!(Secrets::of(&rewritten).hide("a%2Db%40c a-b%40c a-b@c"), "… … …");
        let plain = StorageUrl::parse("http://host").unwrap();
        assert_eq!(Secrets::of(&plain).hide(text), text);
    }
}
