//! Decodes a base64 body before it is stored.

mod body;
mod decoder;
mod detect;
mod layer;
mod service;
mod signature;

pub use self::layer::{Base64, DecodeBase64};
