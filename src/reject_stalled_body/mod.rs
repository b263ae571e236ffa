//! Ends bodies that arrive too slowly.

mod body;
mod layer;
mod pace;
mod service;

pub use self::layer::RejectStalledBody;
