//! [`Outcome`]: what a request came to, as a response extension that an outer layer can read.

use crate::{error::Error, key::BlobKey, metadata::Metadata};

/// What a request came to. Every answer of this crate carries one among its response extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A file was stored: all of it is durable.
    #[non_exhaustive]
    Stored {
        /// The name it is stored under.
        key: BlobKey,
        /// The length of the stored content, in bytes.
        len: u64,
        /// Whether an older file gave way to it.
        replaced: bool,
        /// What KAZOO sent along, if it sent any: callers' names and numbers too.
        metadata: Option<Metadata>,
    },
    /// A file, or a part of it, is the body of the answer.
    #[non_exhaustive]
    Fetched {
        /// The name it is stored under, which need not be the path of the request.
        key: BlobKey,
        /// The length of the whole file, in bytes.
        len: u64,
    },
    /// The client was sent to where the bytes are, or told that the copy it has is good.
    #[non_exhaustive]
    Referred {
        /// The name the file is stored under.
        key: BlobKey,
    },
    /// KAZOO's credentials probe was answered.
    #[non_exhaustive]
    Probed,
    /// The request was refused or failed.
    #[non_exhaustive]
    Failed {
        /// Why.
        error: Error,
    },
}

impl Outcome {
    /// The name of the file that was stored, fetched or referred to.
    #[must_use]
    pub fn key(&self) -> Option<&BlobKey> {
        match self {
            Self::Stored { key, .. } | Self::Fetched { key, .. } | Self::Referred { key } => Some(key),
            Self::Probed | Self::Failed { .. } => None,
        }
    }
}
