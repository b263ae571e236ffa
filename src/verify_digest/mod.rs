//! Rejects an upload that does not match the digest in its headers.

mod body;
mod fields;
mod layer;
mod service;

pub use self::layer::VerifyDigest;
