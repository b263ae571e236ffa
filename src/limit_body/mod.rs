//! Limits the length of request bodies.

mod body;
mod layer;
mod service;

pub use self::layer::LimitBody;
