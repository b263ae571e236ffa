//! [`Upload`] and [`PutResult`]: the input and the output of [`put`](super::BlobStore::put).

use http::HeaderValue;

use super::Precondition;
use crate::{body::Body, key::BlobKey, metadata::Metadata};

/// A file to store.
#[derive(Debug)]
#[non_exhaustive]
pub struct Upload {
    /// The key to store the file under.
    pub key: BlobKey,
    /// The content. It is complete only if the body ends without an error.
    pub body: Body,
    /// The media type, if the client sent one.
    pub content_type: Option<HeaderValue>,
    /// The JSON document of the upload, if any.
    pub metadata: Option<Metadata>,
    /// The length of the body in bytes, if known in advance.
    pub len: Option<u64>,
    /// The condition that must hold at the commit.
    pub precondition: Precondition,
}

impl Upload {
    /// Creates an upload of `body` under `key`, with all other fields at their defaults.
    pub fn new(key: BlobKey, body: impl Into<Body>) -> Self {
        Self {
            key,
            body: body.into(),
            content_type: None,
            metadata: None,
            len: None,
            precondition: Precondition::default(),
        }
    }

    /// Sets or clears the media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<Option<HeaderValue>>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets or clears the JSON document.
    #[must_use]
    pub fn with_metadata(mut self, metadata: impl Into<Option<Metadata>>) -> Self {
        self.metadata = metadata.into();
        self
    }

    /// Sets the length of the body, in bytes. It must be exact: a store may reserve space for it.
    #[must_use]
    pub fn with_len(mut self, len: u64) -> Self {
        self.len = Some(len);
        self
    }

    /// Sets the condition for the commit.
    #[must_use]
    pub fn with_precondition(mut self, precondition: Precondition) -> Self {
        self.precondition = precondition;
        self
    }
}

/// The result of a successful [`put`](super::BlobStore::put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutResult {
    /// No file was stored under the key before.
    Created,
    /// The upload replaced an older file.
    Replaced,
}
