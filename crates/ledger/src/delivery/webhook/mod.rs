//! Events by HTTP, signed as [Standard Webhooks](https://www.standardwebhooks.com) describes.

pub(super) mod client;
pub(super) mod config;
mod endpoint;
mod signature;
mod thread;

pub use self::endpoint::Webhook;
