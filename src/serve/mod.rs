//! The innermost service: answers requests with a [`BlobKey`](crate::BlobKey) from a [`BlobStore`](crate::BlobStore).

mod body;
mod conditions;
mod fetch;
mod headers;
mod range;
mod service;
mod store;

pub use self::service::ServeBlobs;
