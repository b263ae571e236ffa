//! [`Outcome`]: the result of a request, as a response extension that an outer layer can read.

use crate::{error::Error, key::BlobKey, metadata::Metadata};

/// The result of a request. Every response of this crate has one in its extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A file was stored, and is durable.
    #[non_exhaustive]
    Stored {
        /// The key it is stored under.
        key: BlobKey,
        /// The length of the stored content, in bytes.
        len: u64,
        /// `true` if it replaced an older file.
        replaced: bool,
        /// The metadata that KAZOO sent, if any. It contains names and numbers of callers.
        metadata: Option<Metadata>,
    },
    /// A file, or a part of it, is the body of the response.
    #[non_exhaustive]
    Fetched {
        /// The key of the file, which need not be the path of the request.
        key: BlobKey,
        /// The length of the whole file, in bytes.
        len: u64,
    },
    /// The headers of a file were sent, without its content (HEAD).
    #[non_exhaustive]
    Described {
        /// The key of the file, which need not be the path of the request.
        key: BlobKey,
    },
    /// The client's copy of a file is current (304).
    #[non_exhaustive]
    NotModified {
        /// The key of the file, which need not be the path of the request.
        key: BlobKey,
    },
    /// The client was redirected to the location of a file (302).
    #[non_exhaustive]
    Redirected {
        /// The key of the file, which need not be the path of the request.
        key: BlobKey,
    },
    /// KAZOO's credentials probe was answered.
    #[non_exhaustive]
    Probed,
    /// The request was rejected or failed.
    #[non_exhaustive]
    Failed {
        /// The reason.
        error: Error,
    },
}

impl Outcome {
    /// Returns the key of the file that the request concerned, unless the request failed.
    #[must_use]
    pub fn key(&self) -> Option<&BlobKey> {
        match self {
            Self::Stored { key, .. }
            | Self::Fetched { key, .. }
            | Self::Described { key }
            | Self::NotModified { key }
            | Self::Redirected { key } => Some(key),
            Self::Probed | Self::Failed { .. } => None,
        }
    }
}
