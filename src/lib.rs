//! Tower layers, stores and a ready server.

pub mod answer_probe;
mod body;
pub mod decode_base64;
mod error;
pub mod extract_key;
mod kazoo_storage;
mod key;
pub mod limit_body;
mod metadata;
pub mod observe;
mod outcome;
mod probe;
mod reject;
pub mod serve;
pub mod split_multipart;
pub mod store;

#[cfg(all(feature = "fs", unix))]
#[doc(inline)]
pub use self::store::FsStore;
#[doc(inline)]
pub use self::{
    answer_probe::AnswerProbe,
    body::Body,
    decode_base64::{Base64, DecodeBase64},
    error::{BoxError, Error, ErrorKind, Result},
    extract_key::{ExtractKey, KeyExtractor, MetadataKey, PathKey, QueryKey},
    kazoo_storage::{KazooStorage, Mount, MountFuture, MountService, StorageService},
    key::{BlobKey, Candidates},
    limit_body::LimitBody,
    metadata::{MediaPart, Metadata},
    observe::{End, Event, Events, Observe},
    outcome::Outcome,
    probe::Probe,
    reject::ResponseFuture,
    serve::ServeBlobs,
    split_multipart::SplitMultipart,
    store::{Blob, BlobInfo, BlobStore, ByteRange, DynBlobStore, Fetched, MemoryStore, Stored, Upload},
};
