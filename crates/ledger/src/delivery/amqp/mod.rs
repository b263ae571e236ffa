//! Events by AMQP 0.9.1, with publisher confirms.

pub(super) mod config;
mod connection;
mod exchange;
pub(super) mod publisher;
mod routing_key;
mod socket;

pub use self::exchange::AmqpExchange;
