//! Replaces the format of every [`Error`](crate::Error) of this crate, in one place.

mod layer;
mod service;

pub use self::layer::FormatErrors;
