//! Connections: accepts, limits and serves them.

pub(crate) mod accept;
pub(crate) mod admission;
pub(crate) mod connection;
pub(crate) mod heads;
mod linger;
mod metrics;
pub(crate) mod timeouts;
pub(crate) mod tls;
