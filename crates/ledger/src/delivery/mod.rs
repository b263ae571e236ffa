//! Deliveries: sends the events of a ledger to receivers outside of the process, at least once each.
//!
//! An event is a [CloudEvent](https://cloudevents.io) 1.0 in structured JSON. Each receiver has its own queue in the ledger:
//! it gets the events of one key in their order, and a slow or dead receiver delays neither another nor an upload.
//!
#![cfg_attr(feature = "webhooks", doc = "```no_run")]
#![cfg_attr(not(feature = "webhooks"), doc = "```ignore")]
//! use kazoo_storage_ledger::{Ledger, delivery::{Receiver, Receivers, Webhook}};
//!
//! # async fn run(shutdown: impl Future<Output = ()>) -> Result<(), kazoo_storage::Error> {
//! let ledger = Ledger::sqlite("ledger.sqlite").await?;
//! let crm = Webhook::new("https://crm.example.com/kazoo", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
//! let crm = Receiver::from(crm).named("crm")?;
//! // Before the first upload: an event is kept for the receivers that exist.
//! let deliveries = ledger.register_receivers(Receivers::new([crm])?).await?;
//! // Runs beside the server.
//! deliveries.run(shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! - A [`Webhook`] gets a request, signed as [Standard Webhooks](https://www.standardwebhooks.com) describes. An answer of
//!   2xx means that the event is delivered; any other answer, a redirect included, is a failure.
//! - An `AmqpExchange` gets a persistent message. The confirmation of the broker means that the event is delivered; a message
//!   that no queue gets is a failure, but no reason to slow down.
//! - No answer within the [timeout](Receiver::timeout) is a failure, too. After a failure the event is sent again after
//!   1 second, 2 seconds, 4 seconds, … 1 hour, each shortened at random by up to half. A `Retry-After` in the answer postpones
//!   it further, up to 1 hour. An event that fails when it is older than the [maximum age](Receiver::max_age) is dead: it
//!   stays in the ledger, and is not sent again.
//! - After [`in_flight`](Receiver::in_flight) failures in a row, the receiver gets one event at a time, with pauses of up to
//!   a minute, until it accepts one. A `Retry-After` pauses the whole receiver.
//! - After an answer of 410 the receiver gets nothing until it is [registered](crate::Ledger::register_receivers) again. Its events
//!   stay.

mod address;
#[cfg(feature = "amqp")]
mod amqp;
mod answer;
mod attempts;
mod back_off;
mod cloud_event;
mod deliveries;
mod endpoint;
mod fields;
mod health;
mod receiver;
mod receiver_fields;
mod receivers;
mod registration;
mod resolver;
mod transport;
#[cfg(feature = "webhooks")]
mod webhook;
mod worker;

#[cfg(feature = "amqp")]
pub use self::amqp::AmqpExchange;
#[cfg(feature = "webhooks")]
pub use self::webhook::Webhook;
pub use self::{deliveries::Deliveries, receiver::Receiver, receivers::Receivers};
