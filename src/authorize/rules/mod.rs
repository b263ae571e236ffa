//! [`AccessRules`], the [`Authorizer`] for the credentials that KAZOO can send, and its parts.

mod credential;
mod credential_set;
mod forwarded;
mod json;
mod networks;
mod prefix_filter;
mod redact;
mod secret_map;
mod shared;

use std::borrow::Cow;

use http::{Method, header, request::Parts};
use ipnet::IpNet;

pub use self::{credential::Credential, shared::SharedAccessRules};
use self::{
    credential_set::CredentialSet,
    networks::{Network, client},
    redact::REDACTED,
};
use super::{
    Authorizer,
    segment::{split_segment, take_first_segment, with_target},
};
use crate::{
    client_addr::ClientAddr,
    error::{Error, ErrorKind, Result},
    grant::Grant,
};

/// The query parameter that may contain a token.
const PARAMETER: &str = "token";

/// The maximum number of path segments after a token that a log shows. KAZOO's paths have fewer.
const MAX_SHOWN_SEGMENTS: usize = 16;

/// Authorizes requests by their source address and by the credential in them.
///
/// If the rules have networks, the request must come from one of them. If they have credentials, it must contain one of
/// them, and receives the grant of that credential; several credentials at once allow replacing one without an
/// interruption. Without any rule, every request is rejected.
///
/// The credential is removed from the request: the `authorization` header, the first segment of the path, or the query
/// parameter.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    networks: Vec<Network>,
    trusted_proxies: Vec<IpNet>,
    credentials: CredentialSet,
    /// `true` if earlier rules, which these replaced, had tokens.
    had_tokens: bool,
}

impl AccessRules {
    /// Creates an empty set of rules, which rejects every request.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses rules from JSON:
    ///
    /// ```
    /// # let rules = kazoo_storage::AccessRules::from_json(r#"
    /// {
    ///   "networks": ["10.0.0.0/8", { "network": "192.0.2.7", "name": "archive" }],
    ///   "trusted_proxies": ["10.0.0.1"],
    ///   "credentials": [
    ///     { "user": "kazoo", "password": "a long secret", "name": "kazoo" },
    ///     { "token": "another", "accounts": ["0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7"], "may": "read" },
    ///     { "token": "a third", "folders": ["recordings/acme"], "max_body": 67108864 }
    ///   ]
    /// }
    /// # "#).unwrap();
    /// ```
    ///
    /// Every field is optional, but there must be at least one network or one credential. `may` is `read`, `write` or
    /// `both`, the default. `accounts` and `folders`, a list of percent-encoded paths, restrict the credential as in
    /// [`Grant::accounts`] and [`Grant::folders`]; without either, it is valid for all files. `max_body` is the maximum length of its
    /// uploads in bytes, as in [`Grant::max_body`]. `name`, 1 to 64 printable characters, is the [`Grant::name`]; several
    /// credentials may have the same. A request with a credential without a name has that of its network, the first in the list that
    /// contains its address. A user, password or token has at most 1024 bytes and no control characters. [`ErrorKind::InvalidRequest`] describes the fault and its position
    /// without revealing a secret.
    pub fn from_json(text: &str) -> Result<Self> {
        json::parse(text)
    }

    /// Accepts only requests from these networks, such as `10.0.0.0/8` or `192.0.2.7`.
    pub fn networks<I>(mut self, networks: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let ranges = networks::parse(networks)?.into_iter();
        self.networks = ranges.map(|range| Network { range, name: None }).collect();
        Ok(self)
    }

    /// Trusts the `forwarded` or `x-forwarded-for` header of requests from these networks.
    ///
    /// Each proxy must add one of the two headers to every request. A request with both is rejected, because a proxy
    /// forwards the header that it does not know as the client sent it.
    pub fn trusted_proxies<I>(mut self, networks: I) -> Result<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.trusted_proxies = networks::parse(networks)?;
        Ok(self)
    }

    /// Accepts requests with this credential, in addition to the others.
    #[must_use]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.credentials.push(credential);
        self
    }

    /// Returns `path` for a log: without secrets and, if the rules have tokens, without segments that may be one.
    ///
    /// The first segment after `mount` is always redacted, because a mistyped secret reveals most of the real one. The next 16
    /// segments are shown [without secrets](Self::redact). Outside `mount`, where a token may be anywhere, everything
    /// is redacted.
    #[must_use]
    pub fn redact_path<'a>(&self, mount: &str, path: &'a str) -> Cow<'a, str> {
        if !self.has_tokens() && !self.had_tokens {
            return self.redact(path);
        }
        let below = path.strip_prefix(mount.trim_end_matches('/'));
        let Some(below) = below.filter(|below| below.is_empty() || below.starts_with('/')) else {
            return "/***".into();
        };
        let Some((_, rest)) = split_segment(below) else {
            return path.into();
        };
        let end = rest.match_indices('/').nth(MAX_SHOWN_SEGMENTS).map(|(at, _)| at);
        let (shown, hidden) = rest.split_at(end.unwrap_or(rest.len()));
        let mount = path.strip_suffix(below).unwrap_or_default();
        let hidden = if hidden.is_empty() { "" } else { "/…" };
        format!("{mount}/{REDACTED}{}{hidden}", self.redact(shown)).into()
    }

    /// Returns `text` with `***` in place of each secret: each token and password, in any percent-encoding or escaping,
    /// and the base64 that a client sends for it.
    ///
    /// `text` is a name or another value from a request. A secret of fewer than 8 bytes is redacted only as a whole
    /// word. One pass searches for all secrets, so their number does not matter.
    #[must_use]
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let redacted = self.credentials.redactor().value(text.as_bytes());
        redacted.map_or(text.into(), |text| String::from_utf8_lossy(&text).into_owned().into())
    }

    /// Returns a complete log `record` with its secrets redacted, as [`redact`](Self::redact) does for a single value.
    ///
    /// A secret that may occur in the record's own words by chance is not redacted: one of fewer than 8 bytes, or of
    /// lowercase letters only. Redact those in the values first.
    #[must_use]
    pub fn redact_record<'a>(&self, record: &'a [u8]) -> Cow<'a, [u8]> {
        let redacted = self.credentials.redactor().record(record);
        redacted.map_or(record.into(), Into::into)
    }

    /// Returns `true` if `segment`, a percent-encoded path segment, is one of the tokens.
    #[must_use]
    pub fn is_token(&self, segment: &str) -> bool {
        self.credentials.by_token(segment).is_some()
    }

    /// Returns these rules as the replacement of `earlier` ones, whose tokens clients may still send.
    fn replacing(mut self, earlier: &Self) -> Self {
        self.had_tokens = earlier.had_tokens || earlier.has_tokens();
        self
    }

    /// Returns `true` if a credential is a token, which may be in a path.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.credentials.has_tokens()
    }

    fn is_empty(&self) -> bool {
        self.networks.is_empty() && self.credentials.is_empty()
    }

    /// Removes the credential from the request and returns its grant.
    ///
    /// All locations are checked, so the timing does not reveal which of them contains the credential.
    fn take_credential(&self, request: &mut Parts) -> Option<&Grant> {
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
        if let (Some(_), Some((pair, _))) = (by_parameter, parameter) {
            let others: Vec<&str> = query.split('&').filter(|other| *other != pair).collect();
            request.uri = with_target(&request.uri, path, &others.join("&"))?;
        }
        if by_segment.is_some() {
            take_first_segment(request)?;
        }
        by_userinfo.or(by_segment).or(by_parameter)
    }
}

impl Authorizer for AccessRules {
    async fn authorize(&self, request: &mut Parts) -> Result<Grant> {
        if self.is_empty() {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "the server has no access rules, so it rejects every request; the operator has to add a network or a credential",
            ));
        }
        let client = client(request, &self.trusted_proxies);
        if let Ok(address) = client {
            request.extensions.insert(ClientAddr(address));
        }
        let network = match &client {
            Ok(address) => self.networks.iter().find(|network| network.range.contains(address)),
            Err(_) => None,
        };
        if !self.networks.is_empty() && network.is_none() {
            client?;
            let message =
                "the access rules do not permit requests from this address; the operator has to add its network";
            return Err(Error::new(ErrorKind::Forbidden, message));
        }
        let grant = if self.credentials.is_empty() {
            Grant::everything().for_address()
        } else {
            self.take_credential(request).cloned().ok_or_else(|| {
                let message =
                    "the URL in the storage settings has no valid credential; it needs one from the server's access rules";
                Error::new(ErrorKind::Unauthorized, message)
            })?
        };
        request.headers.remove(header::AUTHORIZATION);
        Ok(match network.and_then(|network| network.name.clone()) {
            Some(name) if grant.name().is_none() => grant.named(name),
            _ => grant,
        })
    }
}
