//! Tower layers, stores and a ready server.
mod body;
mod error;
pub mod extract_key;
mod key;
pub mod limit_body;
mod metadata;
mod outcome;
mod probe;
mod reject;
pub mod store;

#[doc(inline)]
pub use self::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    extract_key::{ExtractKey, KeyExtractor, MetadataKey, PathKey, QueryKey},
    key::{BlobKey, Candidates},
    limit_body::LimitBody,
    metadata::{MediaPart, Metadata},
    outcome::Outcome,
    probe::Probe,
    store::{Blob, BlobInfo, BlobStore, ByteRange, DynBlobStore, Fetched, MemoryStore, Stored, Upload},
};
