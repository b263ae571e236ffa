//! Tower layers, stores and a ready server.
pub mod answer_probe;
mod body;
pub mod decode_base64;
mod error;
pub mod extract_key;
mod key;
pub mod limit_body;
mod metadata;
mod outcome;
mod probe;
mod reject;
pub mod serve;
pub mod split_multipart;
pub mod store;

#[doc(inline)]
pub use self::{
    answer_probe::AnswerProbe,
    body::Body,
    decode_base64::{Base64, DecodeBase64},
    error::{BoxError, Error, ErrorKind, Result},
    extract_key::{ExtractKey, KeyExtractor, MetadataKey, PathKey, QueryKey},
    key::{BlobKey, Candidates},
    limit_body::LimitBody,
    metadata::{MediaPart, Metadata},
    outcome::Outcome,
    probe::Probe,
    serve::ServeBlobs,
    split_multipart::SplitMultipart,
    store::{Blob, BlobInfo, BlobStore, ByteRange, DynBlobStore, Fetched, MemoryStore, Stored, Upload},
};
