//! Tower layers that turn any [`BlobStore`] into the HTTP storage backend that the KAZOO telephony platform writes its
//! attachments to (voicemail, call recordings, faxes) and reads them back from.
//!
//! The paved road is one builder, and its service fits any axum or hyper application:
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::BodyExt;
//! use kazoo_storage::{Body, KazooStorage, MemoryStore};
//! use tower::ServiceExt;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let storage = KazooStorage::new(MemoryStore::new()).into_service();
//!
//! let upload = Request::put("/ACCOUNT/202401-DOCUMENT/message.mp3")
//!     .header("content-type", "audio/mpeg")
//!     .body(Body::from("ID3…"))
//!     .unwrap();
//! assert_eq!(storage.clone().oneshot(upload).await.unwrap().status(), StatusCode::CREATED);
//!
//! // KAZOO since 4.3.106 fetches a file at its path doubled, with the metadata in the query.
//! let fetch = "/ACCOUNT/202401-DOCUMENT/message.mp3/ACCOUNT/202401-DOCUMENT/message.mp3?folder=new";
//! let fetched = storage.oneshot(Request::get(fetch).body(Body::empty()).unwrap()).await.unwrap();
//! assert_eq!(fetched.headers()["content-type"], "audio/mpeg");
//! assert_eq!(fetched.into_body().collect().await.unwrap().to_bytes(), "ID3…");
//! # });
//! ```
//!
//! # The road
//!
//! ```text
//! http::Request
//!  │ Observe           tells the application what became of each request
//!  │ LimitBody         413 for a body over the limit; drains what is unread before an early answer
//!  │ Authorize         401 and 403; request extension: Grant (if there is an Authorizer)
//!  │ ExtractKey        request extension: BlobKey, and Candidates for a fetch; 403 for what the Grant does not cover
//!  │ LimitConcurrency  503 with Retry-After for a request over the limit, never for the credentials probe
//!  │ VerifyDigest      400 for a body that does not have the digest in its headers
//!  │ SplitMultipart    body = the media part, content-type = the media's; request extension: Metadata
//!  │ DecodeBase64      body = what the base64 stands for
//!  │ AnswerProbe       answers the credentials probe, keeps it out of the store
//!  ▼ ServeBlobs        PUT, POST, GET, HEAD ↔ BlobStore; response extension: Outcome
//! ```
//!
//! Each layer takes a plain request and emits a plain request with one wrinkle less, so each is useful alone in front
//! of any handler, and does nothing where its wrinkle is absent. Each module shows its layer alone.
//!
//! A request holds at most 256 KiB of its body at any time, whatever the body's size or shape, and the JSON of a
//! multipart upload (1 MiB at most by default). A store may hold more: `ObjectStoreBlobs` holds 10 MiB by default, and
//! [`MemoryStore`] everything.
//!
//! # Stores
//!
//! [`MemoryStore`] for tests, [`FsStore`] for plain files, `ObjectStoreBlobs` for an S3-compatible cluster or another
//! object store, and yours: implement [`BlobStore`] and run the `conformance_tests!` of the feature `conformance` on it.
//! [`BlobCatalog`] lists and deletes what a store holds.
//!
//! # Features
//!
//! - `fs` (default): `FsStore`.
//! - `object-store`: `ObjectStoreBlobs`. Which engines there are is a matter of the features of the crate `object_store`.
//! - `conformance`: `conformance_tests!` and `catalog_conformance_tests!`, the contracts of [`BlobStore`] and
//!   [`BlobCatalog`] as test suites.
//! - `metrics`: `Metrics` and `MeasuredStore`, what the crate measures of itself, by the crate `metrics`.

pub mod answer_probe;
pub mod authorize;
mod body;
mod builder;
mod client_addr;
pub mod decode_base64;
mod digest;
mod encoding;
mod error;
pub mod extract_key;
mod framing;
mod grant;
mod key;
pub mod limit_body;
pub mod limit_concurrency;
mod metadata;
#[cfg(feature = "metrics")]
pub mod metrics;
mod normalize;
pub mod observe;
mod outcome;
mod probe;
mod progress;
mod reject;
pub mod retry_after;
mod rewrite;
pub mod serve;
pub mod settings;
pub mod split_multipart;
pub mod store;
pub mod verify_digest;

#[cfg(all(feature = "fs", unix))]
#[doc(inline)]
pub use self::store::FsStore;
#[cfg(feature = "object-store")]
#[doc(inline)]
pub use self::store::ObjectStoreBlobs;
#[doc(inline)]
pub use self::{
    answer_probe::AnswerProbe,
    authorize::{AccessRules, Authorize, Authorizer, Credential, SharedAccessRules},
    body::Body,
    builder::{KazooStorage, Mount, MountFuture, MountService, StorageService},
    client_addr::{ClientAddr, PeerAddr},
    decode_base64::{Base64, DecodeBase64},
    digest::{Digest, Digester},
    encoding::TransferEncoding,
    error::{BoxError, Error, ErrorKind, Result},
    extract_key::{ExtractKey, KeyExtractor, MetadataKey, PathKey, QueryKey},
    grant::Grant,
    key::{BlobKey, Candidates},
    limit_body::LimitBody,
    limit_concurrency::LimitConcurrency,
    metadata::{MediaPart, Metadata},
    normalize::normalize_path,
    observe::{Begun, End, Event, Events, Observe},
    outcome::Outcome,
    probe::Probe,
    retry_after::RetryAfter,
    rewrite::{Rewrite, RewriteFuture, RewriteService, Rewritten},
    serve::ServeBlobs,
    settings::{Fields, KazooSettings, SettingsKey},
    split_multipart::SplitMultipart,
    store::{
        Blob, BlobCatalog, BlobEntry, BlobInfo, BlobStore, ByteRange, DynBlobCatalog, DynBlobStore, Fetched,
        MemoryStore, Precondition, Stored, Upload,
    },
    verify_digest::VerifyDigest,
};
#[cfg(feature = "metrics")]
#[doc(inline)]
pub use self::{observe::Metrics, store::MeasuredStore};

/// The snippets of the README compile.
#[cfg(all(doctest, feature = "fs"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So do those of the pages.
#[cfg(all(doctest, feature = "fs"))]
#[doc = include_str!("../docs/axum.md")]
#[doc = include_str!("../docs/hyper.md")]
#[doc = include_str!("../docs/layers.md")]
#[cfg_attr(feature = "conformance", doc = include_str!("../docs/write-a-store.md"))]
struct Pages;
