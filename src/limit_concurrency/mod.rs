//! Limits the number of concurrent requests, and asks the clients of the others to retry.

mod layer;
mod permit;
mod service;

pub use self::layer::LimitConcurrency;
