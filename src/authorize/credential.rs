use std::fmt;

use percent_encoding::percent_decode_str;
use subtle::{Choice, ConstantTimeEq as _};

use crate::grant::Grant;

/// What a request shows to be let in, and what that is good for.
///
/// `Debug` shows what it is good for only.
#[derive(Clone)]
pub struct Credential {
    kind: Kind,
    pub(super) grant: Grant,
}

#[derive(Clone)]
enum Kind {
    Password { user: String, password: String },
    Token(String),
}

/// What of a request may be a credential, decoded.
pub(super) enum Shown<'a> {
    /// User and password, with the colon between them.
    UserInfo { text: &'a str, fetch: bool },
    /// A segment of the path, or the value of a parameter.
    Secret(&'a str),
}

impl Credential {
    /// `http://USER:PASSWORD@host/` in the URL of the storage settings.
    ///
    /// KAZOO since 4.3.106 mangles it on a fetch: the colon is lost, or zeros at the password's beginning are. So the
    /// mangled spellings let in to fetch.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new(Kind::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    /// A secret that is the first segment of the path behind the mount (`http://host/some_prefix/TOKEN`), the value of
    /// the query's parameter `token` (`http://host/index.php?token=TOKEN&recording=`), or a user without a password
    /// (`http://TOKEN@host:port/`).
    pub fn token(token: impl Into<String>) -> Self {
        Self::new(Kind::Token(token.into()))
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            grant: Grant::everything(),
        }
    }

    /// Is good for this; by default for everything.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = grant;
        self
    }

    /// The secret, if this is one that stands in paths.
    pub(super) fn as_token(&self) -> Option<&str> {
        match &self.kind {
            Kind::Token(token) => Some(token),
            Kind::Password { .. } => None,
        }
    }

    /// Whether something in it is empty, so that anyone could show it.
    pub(super) fn is_empty(&self) -> bool {
        match &self.kind {
            Kind::Password { user, password } => user.is_empty() || password.is_empty(),
            Kind::Token(token) => token.is_empty(),
        }
    }

    /// Whether it is what was `shown`, in a time that does not depend on how much of it is.
    pub(super) fn is(&self, shown: &Shown<'_>) -> bool {
        let same = |expected: &str, shown: &str| expected.as_bytes().ct_eq(shown.as_bytes());
        let found = match (&self.kind, shown) {
            (Kind::Token(token), Shown::Secret(secret)) => same(token, secret),
            (Kind::Token(token), Shown::UserInfo { text, .. }) => either(text, |text| same(&format!("{token}:"), text)),
            (Kind::Password { .. }, Shown::Secret(_)) => Choice::from(0),
            (Kind::Password { user, password }, Shown::UserInfo { text, fetch }) => either(text, |text| {
                let mut found = same(&format!("{user}:{password}"), text);
                if *fetch {
                    found |= same(&format!("{user}{password}:"), text);
                    let shortened = password.trim_start_matches('0');
                    if shortened.starts_with(|first: char| first.is_ascii_digit()) {
                        found |= same(&format!("{user}:{shortened}"), text);
                    }
                }
                found
            }),
        };
        found.into()
    }
}

/// KAZOO's client sends the userinfo as it stands in the URL, percent-encoded or not.
fn either(text: &str, is: impl Fn(&str) -> Choice) -> Choice {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    is(text) | is(&decoded)
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lets_in(credential: &Credential, text: &str, fetch: bool) -> bool {
        credential.is(&Shown::UserInfo { text, fetch })
    }

    /// WIRE 4: what KAZOO makes of `user:PASSWORD` on a fetch.
    #[test]
    fn a_password_is_known_in_the_spellings_of_a_fetch() {
        for (password, stored, fetched) in [
            ("secret", "user:secret", "usersecret:"),
            ("p@ss", "user:p%40ss", "userp%40ss:"),
            ("p%40ss", "user:p%40ss", "userp%40ss:"),
            ("42secret", "user:42secret", "user:42secret"),
            ("007secret", "user:007secret", "user:7secret"),
        ] {
            let credential = Credential::password("user", password);
            assert!(lets_in(&credential, stored, false), "{password}");
            assert!(lets_in(&credential, stored, true), "{password}");
            assert!(lets_in(&credential, fetched, true), "{password}");
            assert!(
                stored == fetched || !lets_in(&credential, fetched, false),
                "{password}: only to fetch"
            );
        }
        let credential = Credential::password("user", "secret");
        for wrong in [
            "",
            ":",
            "user:",
            "user:secre",
            "user:secrets",
            "User:secret",
            "usersecret",
            "secret:user",
        ] {
            assert!(!lets_in(&credential, wrong, true), "{wrong}");
        }
        assert!(!lets_in(&Credential::password("user", "0secret"), "user:secret", true));
        assert!(!credential.is(&Shown::Secret("user:secret")));
    }

    #[test]
    fn a_token_is_known_alone_and_as_a_user() {
        let credential = Credential::token("fI6n-3Qc");
        assert!(credential.is(&Shown::Secret("fI6n-3Qc")));
        assert!(lets_in(&credential, "fI6n-3Qc:", false));
        for wrong in ["fI6n-3Qc", "fI6n-3Qc:x", ":fI6n-3Qc"] {
            assert!(!lets_in(&credential, wrong, true), "{wrong}");
        }
        assert!(!credential.is(&Shown::Secret("fI6n-3Q")));
    }

    #[test]
    fn debug_keeps_secrets_out_of_logs() {
        for credential in [Credential::password("user", "hush"), Credential::token("hush")] {
            let shown = format!("{credential:?}");
            assert!(
                shown.starts_with("Credential { grant: ") && !shown.contains("hush"),
                "{shown}"
            );
        }
    }
}
