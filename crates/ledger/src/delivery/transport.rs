//! [`Transport`]: sends events to a receiver.

use kazoo_storage::Result;

#[cfg(feature = "amqp")]
use super::amqp::publisher::Publisher;
#[cfg(feature = "webhooks")]
use super::webhook::client::Client;
use super::{answer::Answer, endpoint::Endpoint, receiver::Receiver};
use crate::event::Event;

/// Sends events to one receiver.
pub(super) enum Transport {
    #[cfg(feature = "webhooks")]
    Webhook(Client),
    #[cfg(feature = "amqp")]
    Amqp(Publisher),
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
