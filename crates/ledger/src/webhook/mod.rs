//! Webhooks: sends the events of a ledger to HTTP servers, at least once each.
//!
//! An event is a [CloudEvent](https://cloudevents.io) 1.0 in structured JSON, signed as
//! [Standard Webhooks](https://www.standardwebhooks.com) describes. Each receiver has its own queue in the ledger: it gets
//! the events of one key in their order, and a slow or dead receiver delays neither another nor an upload.
//!
//! ```no_run
//! use kazoo_storage_ledger::{Ledger, webhook::{Webhook, Webhooks}};
//!
//! # async fn run(shutdown: impl Future<Output = ()>) -> Result<(), kazoo_storage::Error> {
//! let ledger = Ledger::sqlite("ledger.sqlite").await?;
//! let crm = Webhook::new("https://crm.example.com/kazoo", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")?;
//! // Before the first upload: an event is kept for the receivers that exist.
//! let deliveries = ledger.webhooks(Webhooks::new([crm])?).await?;
//! // Runs beside the server.
//! deliveries.run(shutdown).await;
//! # Ok(())
//! # }
//! ```
//!
//! - An answer of 2xx means that the event is delivered. No answer within the [timeout](Webhook::timeout), and any other
//!   answer, a redirect included, is a failure: the event is sent again after 1 second, 2 seconds, 4 seconds, … 1 hour,
//!   each less up to half of it at random, or after the `Retry-After` of the answer, up to 1 hour. An event that fails when it is older than its
//!   [maximum age](Webhook::max_age) is dead: it stays in the ledger, and is not sent again.
//! - After as many failures in a row as there may be [events in flight](Webhook::in_flight), the receiver gets one event at
//!   a time, with pauses of up to a minute, until it accepts one. A `Retry-After` pauses the whole receiver.
//! - After an answer of 410 the receiver gets nothing until it is [registered](crate::Ledger::webhooks) again. Its events
//!   stay.

mod cloud_event;
mod config;
mod deliver;
mod endpoint;
mod health;
mod request;
mod resolver;
mod signature;

pub use self::{config::Webhooks, deliver::Deliveries, endpoint::Webhook};
