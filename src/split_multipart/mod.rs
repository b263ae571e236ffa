//! Extracts the media and the metadata from a multipart body.

mod body;
mod boundary;
mod delimiter;
mod headers;
mod layer;
mod service;
mod unread;

pub use self::layer::SplitMultipart;
