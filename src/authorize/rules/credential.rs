use std::fmt;

use super::secret_map::MAX_SECRET;
use crate::grant::Grant;

/// A secret that authorizes a request, and its [`Grant`].
///
/// A user, password or token of more than 1024 bytes authorizes nothing. `Debug` shows only the grant.
#[derive(Clone)]
pub struct Credential {
    pub(super) kind: Kind,
    pub(super) grant: Grant,
}

#[derive(Clone)]
pub(super) enum Kind {
    Password { user: String, password: String },
    Token(String),
}

impl Credential {
    /// Creates a credential of user and password: `http://USER:PASSWORD@host/` in the URL of the storage settings.
    ///
    /// Since 4.3.106, KAZOO mangles it on a fetch: it drops the colon, or leading zeros of the password. The mangled
    /// spellings therefore authorize fetches.
    pub fn password(user: impl Into<String>, password: impl Into<String>) -> Self {
        Self::new(Kind::Password {
            user: user.into(),
            password: password.into(),
        })
    }

    /// Creates a token: the first segment of the path after the mount (`http://host/some_prefix/TOKEN`), the value of
    /// the query parameter `token` (`http://host/index.php?token=TOKEN&recording=`), or a user without a password
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

    /// Sets the grant, which is [`Grant::everything`] by default.
    #[must_use]
    pub fn grant(mut self, grant: Grant) -> Self {
        self.grant = grant;
        self
    }

    /// Returns the reason why the credential cannot be used, if any.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let secrets = match &self.kind {
            Kind::Password { user, password } => [user, password],
            Kind::Token(token) => [token, token],
        };
        if secrets.iter().any(|secret| secret.is_empty()) {
            Some("is empty, so anyone could send it")
        } else if secrets.iter().any(|secret| secret.len() > MAX_SECRET) {
            Some("is longer than 1024 bytes")
        } else if secrets.iter().any(|secret| secret.chars().any(char::is_control)) {
            Some("contains a control character")
        } else {
            None
        }
    }
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
