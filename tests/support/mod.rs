//! What the tests that speak over a socket share.

// Each test binary uses a part of this.
#![allow(dead_code)]

pub(crate) mod client;
#[cfg(feature = "server")]
pub(crate) mod engine;
pub(crate) mod fixture;
pub(crate) mod server;
pub(crate) mod stores;
