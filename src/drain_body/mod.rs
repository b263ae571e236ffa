//! Reads the rest of a body before an early response.

mod body;
mod layer;
mod service;

pub use self::layer::DrainBody;
