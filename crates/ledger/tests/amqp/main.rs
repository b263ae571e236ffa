//! AMQP: what arrives at RabbitMQ, and what happens to events that it does not accept.
//!
//! `tests/system/cluster/rabbitmq.py` runs the ignored tests, one at a time: some of them kill the broker.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

mod broker;
#[path = "../delivery/endless.rs"]
mod endless;
mod events;
mod failures;
mod hostile;
#[path = "../delivery/site.rs"]
mod site;

use self::site::Site;
