//! Webhooks over sockets: what arrives, and what happens to events that receivers do not accept.
// Tests fail by panicking.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[path = "../delivery/endless.rs"]
mod endless;
mod events;
mod failures;
mod hostile;
#[cfg(feature = "metrics")]
mod metrics;
mod receiver;
mod reload;
#[path = "../delivery/site.rs"]
mod site;

use self::site::Site;
