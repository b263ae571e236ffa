//! [`Receiver`]: a receiver of events, with any transport.

use std::{fmt, time::Duration};

use kazoo_storage::{Result, kazoo_id::AttachmentKind};
use url::Url;

#[cfg(feature = "amqp")]
use super::amqp::AmqpExchange;
#[cfg(feature = "webhooks")]
use super::webhook::Webhook;
use super::{
    address::{MAX_NAME, http_url, invalid},
    endpoint::Endpoint,
};
use crate::event::{Event, EventKind};

/// A webhook or an AMQP exchange, the events that it gets, and the limits of their delivery.
///
/// `Debug` shows only the name: a URL may contain a token.
#[derive(Clone)]
#[must_use]
pub struct Receiver {
    pub(super) endpoint: Endpoint,
    pub(super) name: String,
    accounts: Option<Vec<String>>,
    kinds: Option<Vec<Option<AttachmentKind>>>,
    events: Option<Vec<EventKind>>,
    pub(super) metadata: bool,
    pub(super) link: Option<Url>,
    pub(super) timeout: Duration,
    pub(super) max_age: Duration,
    pub(super) in_flight: usize,
}

impl Receiver {
    /// The default [`timeout`](Self::timeout): 15 seconds.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

    /// The default [`max_age`](Self::max_age): three days.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

    /// The default number of events [in flight](Self::in_flight).
    pub const DEFAULT_IN_FLIGHT: usize = 32;

    /// Sets the name under which the ledger keeps the events of this receiver, and which is logged: at most 100 bytes.
    ///
    /// By default it is the host and a digest: that of the URL without its query, or of the broker, the virtual host and the
    /// exchange. Set a name to keep the events when these change.
    pub fn named(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(invalid("a name has 1 to 100 bytes, and no control characters"));
        }
        self.name = name;
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
    /// `base` is an `http` or `https` URL without user, query or fragment.
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

    /// Returns the name of the receiver in the ledger.
    pub(super) fn id(&self) -> String {
        format!("{}{}", self.endpoint.prefix(), self.name)
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

impl From<Endpoint> for Receiver {
    fn from(endpoint: Endpoint) -> Self {
        Self {
            name: endpoint.default_name(),
            endpoint,
            accounts: None,
            kinds: None,
            events: None,
            metadata: false,
            link: None,
            timeout: Self::DEFAULT_TIMEOUT,
            max_age: Self::DEFAULT_MAX_AGE,
            in_flight: Self::DEFAULT_IN_FLIGHT,
        }
    }
}

#[cfg(feature = "webhooks")]
impl From<Webhook> for Receiver {
    fn from(webhook: Webhook) -> Self {
        Endpoint::Webhook(webhook).into()
    }
}

#[cfg(feature = "amqp")]
impl From<AmqpExchange> for Receiver {
    fn from(exchange: AmqpExchange) -> Self {
        Endpoint::Amqp(exchange).into()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
