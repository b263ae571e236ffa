//! [`Endpoint`]: the address of a receiver, for any transport.

#[cfg(feature = "amqp")]
use super::amqp::AmqpExchange;
#[cfg(feature = "webhooks")]
use super::webhook::Webhook;
#[cfg(feature = "amqp")]
use crate::consumer::AMQP;
#[cfg(feature = "webhooks")]
use crate::consumer::WEBHOOK;

/// The address of a receiver.
#[derive(Clone)]
pub(super) enum Endpoint {
    #[cfg(feature = "webhooks")]
    Webhook(Webhook),
    #[cfg(feature = "amqp")]
    Amqp(AmqpExchange),
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
