use std::borrow::Cow;

use http::{
    Method, Uri, header,
    request::Parts,
    uri::{self, PathAndQuery},
};
use ipnet::IpNet;
use serde::Deserialize;
use serde_json::error::Category;

use super::{
    Authorizer, Credential,
    conceal::CONCEALED,
    credentials::Credentials,
    source::{self, client, is_in},
};
use crate::{
    client_addr::ClientAddr,
    error::{Error, ErrorKind, Result},
    grant::Grant,
};

/// The query's parameter that may hold a token.
const PARAMETER: &str = "token";

/// How many segments behind a token may be logged of a path. Those of KAZOO have fewer.
const SHOWN: usize = 16;

/// Lets in by where a request comes from and by what it shows.
///
/// If there are networks, the request must come from one of them. If there are credentials, it must show one of them,
/// and is granted what that one is good for; several at once let an old one be replaced without a gap. Without any rule
/// nobody is let in.
///
/// What was shown is taken out of the request: the `authorization` header, the first segment of the path, or the query's
/// parameter.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    networks: Vec<IpNet>,
    trusted_proxies: Vec<IpNet>,
    credentials: Credentials,
    /// `true` if rules that these replaced had tokens.
    had_tokens: bool,
}

impl AccessRules {
    /// No rule: nobody is let in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The rules in a JSON text:
    ///
    /// ```
    /// # let rules = kazoo_storage::AccessRules::from_json(r#"
    /// {
    ///   "networks": ["10.0.0.0/8"],
    ///   "trusted_proxies": ["10.0.0.1"],
    ///   "credentials": [
    ///     { "user": "kazoo", "password": "a long secret" },
    ///     { "token": "another", "accounts": ["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"], "may": "read" }
    ///   ]
    /// }
    /// # "#).unwrap();
    /// ```
    ///
    /// Every field is optional, but there must be at least one network or one credential. `may` is `read`, `write` or
    /// `both`, the default; without `accounts`, the credential is valid for all accounts. A user, password or token has
    /// at most 1024 bytes and no control characters. [`ErrorKind::InvalidRequest`] describes the fault and its position
    /// without revealing a secret.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidRequest, message);
        let file: File = serde_json::from_str(text).map_err(|error| wrong(fault(&error)))?;
        let mut rules = Self::new()
            .networks(file.networks)?
            .trusted_proxies(file.trusted_proxies)?;
        for (position, entry) in (1..).zip(file.credentials) {
            let credential = match (entry.user, entry.password, entry.token) {
                (Some(user), Some(password), None) => Credential::password(user, password),
                (None, None, Some(token)) => Credential::token(token),
                _ => {
                    let message = "needs a `user` and a `password`, or a `token`, and not both";
                    return Err(wrong(format!("credential {position} {message}")));
                }
            };
            if let Some(fault) = credential.fault() {
                return Err(wrong(format!("credential {position} {fault}")));
            }
            let mut grant = Grant::everything();
            if let Some(accounts) = entry.accounts {
                grant = grant.accounts(accounts);
            }
            grant = match entry.may {
                May::Read => grant.read_only(),
                May::Write => grant.write_only(),
                May::Both => grant,
            };
            rules = rules.credential(credential.grant(grant));
        }
        if rules.networks.is_empty() && rules.credentials.is_empty() {
            return Err(wrong("the access rules name no network and no credential".to_owned()));
        }
        Ok(rules)
    }

    /// Lets in only what comes from one of these networks, such as `10.0.0.0/8` or `192.0.2.7`.
    pub fn networks<I>(mut self, networks: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.networks = source::networks(networks)?;
        Ok(self)
    }

    /// Believes what these say in `forwarded` or `x-forwarded-for` about where a request comes from.
    ///
    /// Each of them must add one of the two to every request. A request with both is refused: a proxy leaves the one that
    /// it does not know as the client has made it up.
    pub fn trusted_proxies<I>(mut self, networks: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.trusted_proxies = source::networks(networks)?;
        Ok(self)
    }

    /// Lets in who shows this, or another one.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credentials.push(credential);
        self
    }

    /// Returns `path` for a log: without secrets and, if the rules have tokens, without segments that may be one.
    ///
    /// The first segment after `mount` is always concealed, because a mistyped secret is almost a secret. The next 16
    /// segments are shown [without secrets](Self::conceal). Outside `mount`, where a token may be anywhere, everything
    /// is concealed.
    #[must_use]
    pub fn redact<'a>(&self, mount: &str, path: &'a str) -> Cow<'a, str> {
        if !self.has_tokens() && !self.had_tokens {
            return self.conceal(path);
        }
        let below = path.strip_prefix(mount.trim_end_matches('/'));
        let Some(below) = below.filter(|below| below.is_empty() || below.starts_with('/')) else {
            return "/***".into();
        };
        let Some((_, rest)) = split_segment(below) else {
            return path.into();
        };
        let end = rest.match_indices('/').nth(SHOWN).map(|(at, _)| at);
        let (shown, hidden) = rest.split_at(end.unwrap_or(rest.len()));
        let mount = path.strip_suffix(below).unwrap_or_default();
        let hidden = if hidden.is_empty() { "" } else { "/…" };
        format!("{mount}/{CONCEALED}{}{hidden}", self.conceal(shown)).into()
    }

    /// Returns `text` with `***` in place of each secret: each token and password, in any percent-encoding or escaping,
    /// and the base64 that a client sends for it.
    ///
    /// `text` is a name or another value from a request. A secret of fewer than 8 bytes is concealed only as a whole
    /// word. One pass searches for all secrets, so their number does not matter.
    #[must_use]
    pub fn conceal<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let concealed = self.credentials.concealer().value(text.as_bytes());
        concealed.map_or(text.into(), |text| String::from_utf8_lossy(&text).into_owned().into())
    }

    /// Returns a complete log `record` with its secrets concealed, as [`conceal`](Self::conceal) does for a single
    /// value.
    ///
    /// A secret that may occur in the record's own words by chance is not concealed: one of fewer than 8 bytes, or of
    /// lowercase letters only. Conceal those in the values first.
    #[must_use]
    pub fn conceal_record<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        let concealed = self.credentials.concealer().record(record);
        concealed.map_or(record.into(), Into::into)
    }

    /// Whether `segment`, as it stands in a path, is one of the tokens.
    #[must_use]
    pub fn is_token(&self, segment: &str) -> bool {
        self.credentials.by_token(segment).is_some()
    }

    /// Returns these rules in place of `earlier` ones, whose tokens clients may still send.
    pub(super) fn after(mut self, earlier: &Self) -> Self {
        self.had_tokens = earlier.had_tokens || earlier.has_tokens();
        self
    }

    /// Returns `true` if a credential is a token, which may stand in a path.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.credentials.has_tokens()
    }

    /// Takes the credential out of the request and returns its grant.
    ///
    /// All locations are checked, so the timing does not reveal which of them holds the credential.
    fn shown(&self, request: &mut Parts) -> Option<&Grant> {
        let fetch = matches!(request.method, Method::GET | Method::HEAD);
        let path = request.uri.path();
        let segment = split_segment(path);
        let query = request.uri.query().unwrap_or_default();
        let parameter = query.split('&').find_map(|pair| {
            let value = pair.strip_prefix(PARAMETER)?.strip_prefix('=')?;
            Some((pair, value))
        });
        let by_userinfo = self.credentials.by_header(&request.headers, fetch);
        let by_segment = segment.and_then(|(segment, _)| self.credentials.by_token(segment));
        let by_parameter = parameter.and_then(|(_, value)| self.credentials.by_token(value));
        let path = match (by_segment, segment) {
            (Some(_), Some((_, ""))) => "/",
            (Some(_), Some((_, rest))) => rest,
            _ => path,
        };
        let query = match (by_parameter, parameter) {
            (Some(_), Some((pair, _))) => query
                .split('&')
                .filter(|other| *other != pair)
                .collect::<Vec<_>>()
                .join("&"),
            _ => query.to_owned(),
        };
        if by_segment.is_some() || by_parameter.is_some() {
            request.uri = with_target(&request.uri, path, &query)?;
        }
        by_userinfo.or(by_segment).or(by_parameter)
    }
}

impl Authorizer for AccessRules {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        if self.networks.is_empty() && self.credentials.is_empty() {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "nobody is let in: there are no access rules",
            ));
        }
        let client = client(request, &self.trusted_proxies);
        if let Ok(address) = client {
            request.extensions.insert(ClientAddr(address));
        }
        if !self.networks.is_empty() && !is_in(&self.networks, client?) {
            let message = "requests from this address are not let in; the operator has to name its network";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let grant = if self.credentials.is_empty() {
            Grant::everything().for_address()
        } else {
            self.shown(request).cloned().ok_or_else(|| {
                let message = "the URL in the storage settings carries no credential that is known here: it needs the user \
                               and password, or the secret, that the operator has set";
                Error::new(ErrorKind::Unauthorized, message)
            })?
        };
        request.headers.remove(header::AUTHORIZATION);
        Ok(grant)
    }
}

/// The first segment of a path that is not empty, and what follows it.
fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_start_matches('/');
    let end = path.find('/').unwrap_or(path.len());
    let (segment, rest) = path.split_at(end);
    (!segment.is_empty()).then_some((segment, rest))
}

fn with_target(uri: &Uri, path: &str, query: &str) -> Option<Uri> {
    let mut parts = uri::Parts::from(uri.clone());
    let target = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// What is wrong with the text, and where. serde's own message may quote what stands there, so only its kind is told.
fn fault(error: &serde_json::Error) -> String {
    let says = error.to_string();
    let (what, keys) = match error.classify() {
        Category::Eof => ("the JSON is cut off", ""),
        Category::Syntax | Category::Io => ("no JSON", ""),
        Category::Data if says.starts_with("unknown field") => ("unknown key", KEYS),
        Category::Data if says.starts_with("duplicate field") => ("a key for the second time", ""),
        Category::Data if says.starts_with("unknown variant") => ("no such `may`", "; it is read, write or both"),
        Category::Data => ("a value of the wrong type", KEYS),
    };
    format!("{what} at line {}, column {}{keys}", error.line(), error.column())
}

const KEYS: &str = "; there are networks, trusted_proxies and credentials, and in each credential user, password, token, accounts and may";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
    #[serde(default)]
    credentials: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    accounts: Option<Vec<String>>,
    #[serde(default)]
    may: May,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum May {
    Read,
    Write,
    #[default]
    Both,
}
