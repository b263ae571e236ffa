//! Answers an upload with a success only if the handler has read its whole body.

mod layer;
mod service;

pub use self::layer::ConfirmBody;
