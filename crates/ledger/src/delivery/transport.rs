//! [`Endpoint`], the address of a receiver, and [`Transport`], which sends events there.

use std::time::Duration;

use kazoo_storage::Result;

#[cfg(feature = "amqp")]
use super::amqp::{AmqpExchange, publisher::Publisher};
use super::receiver::Receiver;
#[cfg(feature = "webhooks")]
use super::webhook::{Webhook, client::Client};
#[cfg(feature = "amqp")]
use crate::consumer::AMQP;
#[cfg(feature = "webhooks")]
use crate::consumer::WEBHOOK;
use crate::event::Event;

/// The address of a receiver.
#[derive(Clone)]
pub(super) enum Endpoint {
    #[cfg(feature = "webhooks")]
    Webhook(Webhook),
    #[cfg(feature = "amqp")]
    Amqp(AmqpExchange),
}

/// Sends events to one receiver.
pub(super) enum Transport {
    #[cfg(feature = "webhooks")]
    Webhook(Client),
    #[cfg(feature = "amqp")]
    Amqp(Publisher),
}

/// The end of an attempt to send an event.
#[derive(Debug)]
pub(super) enum Answer {
    /// The receiver has the event.
    Delivered,
    /// The receiver wants no more events.
    #[cfg_attr(not(feature = "webhooks"), expect(dead_code, reason = "only HTTP has this answer"))]
    Gone { error: String },
    /// The receiver works, but does not take this event.
    #[cfg_attr(not(feature = "amqp"), expect(dead_code, reason = "only AMQP has this answer"))]
    Rejected { error: String },
    Failed {
        error: String,
        /// The time for which the receiver wants no events.
        retry_after: Option<Duration>,
    },
}

impl Endpoint {
    /// Returns the prefix of the receiver's name in the ledger.
    pub(super) fn prefix(&self) -> &'static str {
        match self {
            #[cfg(feature = "webhooks")]
            Self::Webhook(_) => WEBHOOK,
            #[cfg(feature = "amqp")]
            Self::Amqp(_) => AMQP,
        }
    }

    /// Returns the name of a receiver for which none is set.
    pub(super) fn default_name(&self) -> String {
        match self {
            #[cfg(feature = "webhooks")]
            Self::Webhook(webhook) => webhook.default_name(),
            #[cfg(feature = "amqp")]
            Self::Amqp(exchange) => exchange.default_name(),
        }
    }
}

impl Transport {
    /// Prepares to send events to `receiver`. It connects later.
    pub(super) fn new(receiver: &Receiver) -> Result<Self> {
        match &receiver.endpoint {
            #[cfg(feature = "webhooks")]
            Endpoint::Webhook(webhook) => Client::new(webhook, receiver).map(Self::Webhook),
            #[cfg(feature = "amqp")]
            Endpoint::Amqp(exchange) => Publisher::new(exchange, receiver).map(Self::Amqp),
        }
    }

    /// Sends `event`, whose `CloudEvent` is `body`, and waits for the answer, at most for the time limit of the receiver.
    pub(super) async fn send(&self, event: &Event, body: Vec<u8>) -> Answer {
        match self {
            #[cfg(feature = "webhooks")]
            Self::Webhook(client) => client.send(event, body).await,
            #[cfg(feature = "amqp")]
            Self::Amqp(publisher) => publisher.send(event, &body).await,
        }
    }

    /// Ends the connection to the receiver.
    #[cfg_attr(not(feature = "amqp"), expect(clippy::unused_async, reason = "only AMQP waits"))]
    pub(super) async fn close(&self) {
        match self {
            // Its idle connections end with it.
            #[cfg(feature = "webhooks")]
            Self::Webhook(_) => {}
            #[cfg(feature = "amqp")]
            Self::Amqp(publisher) => publisher.close().await,
        }
    }
}

impl Answer {
    pub(super) fn failed(error: impl Into<String>) -> Self {
        Self::Failed {
            error: error.into(),
            retry_after: None,
        }
    }

    /// Returns the answer of a receiver that has not answered within `limit`.
    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::failed(format!("no answer within {}", humantime::format_duration(limit)))
    }
}
