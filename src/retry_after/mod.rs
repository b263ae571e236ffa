//! Decides which responses ask the client to retry, and for how long.

mod layer;
mod service;
mod window;

pub use self::layer::RetryAfter;
