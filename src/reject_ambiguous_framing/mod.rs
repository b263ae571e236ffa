//! Rejects requests whose end or host is ambiguous.

mod host;
mod layer;
mod service;

pub use self::layer::RejectAmbiguousFraming;
