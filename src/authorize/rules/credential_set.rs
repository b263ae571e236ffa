use std::sync::OnceLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header};

use super::{
    Credential,
    credential::Kind,
    redact::Redactor,
    secret_map::{MAX_PRESENTED, SecretMap, decoded, work},
};
use crate::grant::Grant;

/// The credentials of access rules, indexed by the text that a request presents.
///
/// `Debug` shows only their grants.
#[derive(Clone, Debug, Default)]
pub(super) struct CredentialSet {
    all: Vec<Credential>,
    /// Indexed by user and password, joined by a colon, as every request sends them.
    userinfo: SecretMap,
    /// Indexed by user and password as KAZOO mangles them on a fetch.
    mangled: SecretMap,
    tokens: SecretMap,
    /// Built on first use.
    redactor: OnceLock<Redactor>,
}

impl CredentialSet {
    pub(super) fn push(&mut self, credential: Credential) {
        let number = self.all.len();
        match &credential.kind {
            Kind::Password { user, password } => {
                self.userinfo.insert(format!("{user}:{password}"), number);
                self.mangled.insert(format!("{user}{password}:"), number);
                if let Some(shortened) = shortened(password) {
                    self.mangled.insert(format!("{user}:{shortened}"), number);
                }
            }
            Kind::Token(token) => {
                self.userinfo.insert(format!("{token}:"), number);
                self.tokens.insert(token.clone(), number);
            }
        }
        self.all.push(credential);
        self.redactor.take();
    }

    /// Returns the redactor for every secret and for the base64 of every text that identifies a credential.
    pub(super) fn redactor(&self) -> &Redactor {
        self.redactor.get_or_init(|| {
            let secrets = self.all.iter().flat_map(|credential| match &credential.kind {
                Kind::Password { password, .. } => [Some(&**password), shortened(password)],
                Kind::Token(token) => [Some(&**token), None],
            });
            let encoded = self.userinfo.texts().chain(self.mangled.texts());
            Redactor::new(
                secrets.flatten(),
                encoded.map(|text| String::from_utf8_lossy(text).into_owned()),
            )
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Returns the grant of the user and password in the `authorization` header.
    pub(super) fn by_header(&self, headers: &HeaderMap, fetch: bool) -> Option<&Grant> {
        self.by_userinfo(&userinfo(headers)?, fetch)
    }

    /// Returns the grant of `text`, which KAZOO's client sends exactly as it appears in the URL, percent-encoded or
    /// not.
    fn by_userinfo(&self, text: &[u8], fetch: bool) -> Option<&Grant> {
        if !text.contains(&b':') {
            return None;
        }
        let decoded = decoded(text)?;
        let found = [text, &decoded].into_iter().flat_map(|text| {
            let mangled = fetch.then(|| self.mangled.find(text));
            [self.userinfo.find(text), mangled.flatten()]
        });
        self.grant(found.max().flatten())
    }

    /// Returns the grant of the percent-encoded token in `text`, a path segment or a parameter value.
    pub(super) fn by_token(&self, text: &str) -> Option<&Grant> {
        self.grant(self.tokens.find(&decoded(text.as_bytes())?))
    }

    fn grant(&self, number: Option<usize>) -> Option<&Grant> {
        Some(&self.all.get(number?)?.grant)
    }
}

/// Returns `password` without its leading zeros, which KAZOO's client drops in front of another digit.
pub(super) fn shortened(password: &str) -> Option<&str> {
    let shortened = password.trim_start_matches('0');
    let digit = shortened.starts_with(|first: char| first.is_ascii_digit());
    (digit && shortened != password).then_some(shortened)
}

/// Returns the user, colon and password of the `authorization` header. A request with two such headers has no
/// credential: a proxy in front may have checked the other one.
fn userinfo(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, encoded) = value.as_bytes().split_at_checked("basic ".len())?;
    let encoded = encoded.trim_ascii();
    // Each byte may be percent-encoded in the URL.
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > 3 * MAX_PRESENTED / 3 * 4 + 4 {
        return None;
    }
    work::add(encoded.len());
    STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(credentials: impl IntoIterator<Item = Credential>) -> CredentialSet {
        let mut all = CredentialSet::default();
        credentials.into_iter().for_each(|credential| all.push(credential));
        all
    }

    fn authorizes(credential: &Credential, text: &str, fetch: bool) -> bool {
        of([credential.clone()]).by_userinfo(text.as_bytes(), fetch).is_some()
    }

    fn header(text: impl AsRef<[u8]>) -> HeaderMap {
        let value = format!("Basic {}", STANDARD.encode(text));
        [(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap())]
            .into_iter()
            .collect()
    }

    /// KAZOO's spellings of `user:PASSWORD` on a fetch; `tests/fixtures/kazoo/` has them as `userinfo-*`.
    #[test]
    fn accepts_a_mangled_password_on_a_fetch_only() {
        for (password, stored, fetched) in [
            ("secret", "user:secret", "usersecret:"),
            ("p@ss", "user:p%40ss", "userp%40ss:"),
            ("p%40ss", "user:p%40ss", "userp%40ss:"),
            ("42secret", "user:42secret", "user:42secret"),
            ("007secret", "user:007secret", "user:7secret"),
        ] {
            let credential = Credential::password("user", password);
            assert!(authorizes(&credential, stored, false), "{password}");
            assert!(authorizes(&credential, stored, true), "{password}");
            assert!(authorizes(&credential, fetched, true), "{password}");
            assert!(
                stored == fetched || !authorizes(&credential, fetched, false),
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
            "user%3Asecret",
        ] {
            assert!(!authorizes(&credential, wrong, true), "{wrong}");
        }
        assert!(!authorizes(
            &Credential::password("user", "0secret"),
            "user:secret",
            true
        ));
        assert!(of([credential]).by_token("user:secret").is_none());
    }

    #[test]
    fn accepts_a_token_alone_and_as_a_user() {
        let credential = Credential::token("fI6n-3Qc");
        assert!(authorizes(&credential, "fI6n-3Qc:", false));
        for wrong in ["fI6n-3Qc", "fI6n-3Qc:x", ":fI6n-3Qc"] {
            assert!(!authorizes(&credential, wrong, true), "{wrong}");
        }
        let all = of([credential, Credential::token("\u{FFFD}")]);
        assert!(all.by_token("fI6n-3Qc").is_some() && all.by_token("%66I6n%2d3Qc").is_some());
        // Invalid UTF-8 does not match the replacement character.
        for wrong in ["fI6n-3Q", "", "%FF", "%66%FF"] {
            assert!(all.by_token(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_last_of_several_credentials_with_the_same_secret_wins() {
        let (one, two) = (Grant::everything().accounts(["1"]), Grant::everything().accounts(["2"]));
        let token = |grant: &Grant| Credential::token("T").grant(grant.clone());
        assert_eq!(of([token(&one), token(&two)]).by_token("T"), Some(&two));
        assert_eq!(of([token(&two), token(&one)]).by_token("T"), Some(&one));
        // The plain spelling of one credential may be the mangled spelling of another.
        let plain = Credential::password("u", "7").grant(one.clone());
        let mangled = Credential::password("u", "007").grant(two.clone());
        let all = of([plain, mangled]);
        assert_eq!(all.by_userinfo(b"u:7", false), Some(&one));
        assert_eq!(all.by_userinfo(b"u:7", true), Some(&two));
        let decoded = Credential::password("u", "p@").grant(one.clone());
        let encoded = Credential::password("u", "p%40").grant(two.clone());
        assert_eq!(
            of([decoded.clone(), encoded.clone()]).by_userinfo(b"u:p%40", false),
            Some(&two)
        );
        assert_eq!(of([encoded, decoded]).by_userinfo(b"u:p%40", false), Some(&one));
    }

    #[test]
    fn accepts_a_single_header_with_basic_credentials() {
        let all = of([Credential::password("u", "é")]);
        let right = header("u:é");
        assert!(all.by_header(&right, false).is_some());
        let mut other = right.clone();
        other.insert(header::AUTHORIZATION, HeaderValue::from_static("bAsIC  dTrDqQ== "));
        assert!(all.by_header(&other, false).is_some());
        other.append(header::AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
        assert!(all.by_header(&other, false).is_none(), "two headers");
        for wrong in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"dTrDqQ==",
            b"Bearer dTrDqQ==",
            b"Basic dTrDqQ",
            b"Basic \xe9",
            b"Basic dTrpCg==",
        ] {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_bytes(wrong).unwrap())];
            let headers: HeaderMap = headers.into_iter().collect();
            assert!(all.by_header(&headers, false).is_none(), "{wrong:?}");
        }
    }

    /// The work per request is bounded and does not grow with the number of credentials.
    #[test]
    fn the_work_does_not_grow_with_the_number_of_credentials() {
        let password = |number: usize| Credential::password("kazoo", format!("secret {number}"));
        let token = |number: usize| Credential::token(format!("token-{number}"));
        let many = of((0..2500).flat_map(|number| [password(number), token(number)]));
        let one = of([password(0), token(0)]);
        let presented = [
            "kazoo:secret 0".to_owned(),
            "kazoosecret 0:".to_owned(),
            "token-0:".to_owned(),
            "kazoo:secret".to_owned(),
            ":".repeat(2048),
            "%41".repeat(2000) + ":",
            "x:".repeat(24 << 10),
        ];
        for text in &presented {
            let work = |all: &CredentialSet| {
                work::of(|| {
                    let _ = all.by_header(&header(text), true);
                    let _ = all.by_token(text);
                })
            };
            assert_eq!(work(&one), work(&many), "{}", text.len());
            assert!(work(&many) < 32 << 10, "{} bytes: {}", text.len(), work(&many));
        }
    }
}
