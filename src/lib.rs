//! Tower layers, stores and a ready server.
mod body;
mod error;
mod key;
mod metadata;
mod outcome;
mod probe;
mod reject;
pub mod store;

#[doc(inline)]
pub use self::{
    body::Body,
    error::{BoxError, Error, ErrorKind, Result},
    key::{BlobKey, Candidates},
    metadata::{MediaPart, Metadata},
    outcome::Outcome,
    probe::Probe,
    store::{Blob, BlobInfo, BlobStore, ByteRange, DynBlobStore, Fetched, MemoryStore, Stored, Upload},
};
