//! [`Webhook`]: a receiver of events by HTTP.

use std::{fmt, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result, digest::Digest, kazoo_id::AttachmentKind};
use reqwest::{Certificate, Url};

use super::signature::Secret;
use crate::event::{Event, EventKind};

/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 100;

/// A receiver of events by HTTP.
///
/// `Debug` shows neither the URL, which may contain a token, nor the secrets.
#[derive(Clone)]
#[must_use]
pub struct Webhook {
    pub(super) name: String,
    pub(super) url: Url,
    pub(super) secrets: Vec<Secret>,
    accounts: Option<Vec<String>>,
    kinds: Option<Vec<Option<AttachmentKind>>>,
    events: Option<Vec<EventKind>>,
    pub(super) metadata: bool,
    pub(super) link: Option<Url>,
    pub(super) timeout: Duration,
    pub(super) max_age: Duration,
    pub(super) in_flight: usize,
    pub(super) authorities: Vec<Certificate>,
}

impl Webhook {
    /// The default [`timeout`](Self::timeout): 15 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

    /// The default [`max_age`](Self::max_age): three days.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

    /// The default number of events [in flight](Self::in_flight).
    pub const DEFAULT_IN_FLIGHT: usize = 32;

    /// Sends every event to `url`, signed with `secret`: `whsec_` and 24 to 64 random bytes in base64.
    ///
    /// The URL has the scheme `http` or `https`, and neither user nor password.
    pub fn new(url: &str, secret: &str) -> Result<Self> {
        let url = http_url(url)?;
        Ok(Self {
            name: default_name(&url),
            url,
            secrets: vec![Secret::parse(secret)?],
            accounts: None,
            kinds: None,
            events: None,
            metadata: false,
            link: None,
            timeout: Self::DEFAULT_TIMEOUT,
            max_age: Self::DEFAULT_MAX_AGE,
            in_flight: Self::DEFAULT_IN_FLIGHT,
            authorities: Vec::new(),
        })
    }

    /// Sets the name under which the ledger keeps the events of this receiver, and which is logged: at most 100 bytes.
    ///
    /// By default it is the host, and a digest of the URL without its query. Set a name to keep the events when the URL
    /// changes.
    pub fn named(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(invalid("a name has 1 to 100 bytes, and no control characters"));
        }
        self.name = name;
        Ok(self)
    }

    /// Signs with a second secret too. The receiver accepts either, so each side can change its secret on its own.
    pub fn second_secret(mut self, secret: &str) -> Result<Self> {
        if self.secrets.len() > 1 {
            return Err(invalid("there are two secrets already; remove the older one"));
        }
        self.secrets.push(Secret::parse(secret)?);
        Ok(self)
    }

    /// Sends only events of files of these accounts: none, if the list is empty.
    pub fn accounts(mut self, accounts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.accounts = Some(accounts.into_iter().map(Into::into).collect());
        self
    }

    /// Sends only events of files of these kinds: none, if the list is empty. `None` stands for other files, such as greetings.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = Option<AttachmentKind>>) -> Self {
        self.kinds = Some(kinds.into_iter().collect());
        self
    }

    /// Sends only these events: none, if the list is empty.
    pub fn events(mut self, events: impl IntoIterator<Item = EventKind>) -> Self {
        self.events = Some(events.into_iter().collect());
        self
    }

    /// Determines whether an event has the call id, the numbers and the metadata of the file; `false` by default, so that
    /// they do not leave the machine. The key is always sent.
    pub fn metadata(mut self, metadata: bool) -> Self {
        self.metadata = metadata;
        self
    }

    /// Adds the URL of the file to its events: `base`, a slash and the key. A deleted file has none.
    ///
    /// `base` has neither query nor fragment.
    pub fn link(mut self, base: &str) -> Result<Self> {
        let base = http_url(base)?;
        if base.query().is_some() || base.fragment().is_some() {
            return Err(invalid("the key follows the URL, so it has neither query nor fragment"));
        }
        self.link = Some(base);
        Ok(self)
    }

    /// Sets the time limit for an answer, 15 seconds by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the age after which an event that fails is not sent again, three days by default.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the maximum number of events that one [`Deliveries`](super::Deliveries) sends at once, 32 by default and at least 1.
    pub fn in_flight(mut self, in_flight: usize) -> Self {
        self.in_flight = in_flight.max(1);
        self
    }

    /// Accepts the certificates of these authorities, in PEM, in place of those that the system trusts.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self> {
        let read = Certificate::from_pem_bundle(pem).unwrap_or_default();
        if read.is_empty() {
            return Err(invalid("there is no certificate in PEM"));
        }
        self.authorities = read;
        Ok(self)
    }

    /// Returns `true` if the receiver gets `event`.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let account = event.file.key.account_id();
        let of_account = |accounts: &Vec<String>| accounts.iter().any(|wanted| Some(&**wanted) == account);
        self.accounts.as_ref().is_none_or(of_account)
            && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.file.kind))
            && self.events.as_ref().is_none_or(|events| events.contains(&event.kind))
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The path may be a secret of the receiver, so the name has only a digest of it.
fn default_name(url: &Url) -> String {
    let mut identity = url.clone();
    identity.set_query(None);
    identity.set_fragment(None);
    let digest = Digest::of(identity.as_str().as_bytes()).to_string();
    let host = url.host_str().unwrap_or_default();
    let name: String = host.chars().take(MAX_NAME - 9).collect();
    format!("{name}-{}", digest.get(..8).unwrap_or_default())
}

/// Parses `text`. The error does not contain it.
fn http_url(text: &str) -> Result<Url> {
    let url = Url::parse(text).map_err(|error| invalid(&format!("the URL is invalid ({error})")))?;
    if !matches!(url.scheme(), "http" | "https") {
        let scheme = url.scheme();
        return Err(invalid(&format!(
            "the URL has the scheme `{scheme}`; use `https` or `http`"
        )));
    }
    if !url.has_host() {
        return Err(invalid("the URL has no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "the URL has a user or a password; remove it: the signature authenticates the sender",
        ));
    }
    Ok(url)
}

fn invalid(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, message.to_owned())
}
