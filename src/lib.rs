//! Tower layers and stores that give the KAZOO telephony platform an HTTP storage backend.
//!
//! KAZOO uploads its attachments (voicemail, call recordings, faxes) over HTTP and fetches them later. This crate puts
//! any [`BlobStore`] behind that protocol. [`KazooStorage`] builds the complete service, which runs in any axum or
//! hyper application:
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
//! # Request path
//!
//! ```text
//! http::Request
//!  │ Observe                 reports each request and its response to the application
//!  │ RetryAfter              decides which 503 asks the client to retry, never one for the credentials probe
//!  │ RejectStalledBody       408 for a body that arrives too slowly (if a timeout is set)
//!  │ DrainBody               reads the rest of a body before an early response
//!  │ RejectAmbiguousFraming  400 for a request whose end or host is ambiguous
//!  │ Authorize               401 and 403; request extension: Grant (only with an Authorizer)
//!  │ LimitBody               413 for a body over the limit of the service or of the Grant
//!  │ ExtractKey              request extension: BlobKey, and Candidates for a fetch; 403 for a key outside of the Grant
//!  │ LimitConcurrency        503 for a request over the limit
//!  │ VerifyDigest            400 for a body that does not match the digest in its headers
//!  │ SplitMultipart          body and content-type = those of the media part; request extension: Metadata
//!  │ DecodeBase64            body = the decoded bytes
//!  │ LimitBody               413 for media over the limit (if one is set)
//!  │ AnswerProbe             answers the credentials probe without storing it
//!  ▼ ServeBlobs              PUT, POST, GET, HEAD ↔ BlobStore; response extension: Outcome
//! ```
//!
//! Each layer takes a plain HTTP request and emits a plain HTTP request with one KAZOO peculiarity removed. It passes
//! other requests unchanged and works alone in front of any handler; its documentation has an example. Each layer implements
//! [`Rewrite`](rewrite::Rewrite) or, if it works on responses, [`Exchange`](exchange::Exchange). Custom layers can do the same.
//!
//! The layers hold at most 256 KiB of a request's body, whatever its size or shape, and the JSON of a multipart upload
//! (at most 1 MiB by default). A store may hold more: `ObjectStoreBlobs` holds 10 MiB by default, and [`MemoryStore`]
//! everything.
//!
//! # Stores
//!
//! [`MemoryStore`] is for tests, `FsStore` stores plain files, and `ObjectStoreBlobs` writes to S3 or another object
//! store. To write your own, implement [`BlobStore`] and run `conformance_tests!` on it. [`BlobCatalog`] lists and
//! deletes stored files.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `fs` (default) | `FsStore`, on Unix |
//! | `object-store` | `ObjectStoreBlobs`; the features of the `object_store` crate select the engines |
//! | `axum` | the module `axum`: extractors for handlers behind the layers, and [`Error`] as a response |
//! | `metrics` | the module `metrics`, `observe::Metrics` and `store::MeasuredStore`: measurements through the `metrics` crate |
//! | `conformance` | `conformance_tests!`, `catalog_conformance_tests!`, `reopen_conformance_tests!` and `catalog_reopen_conformance_tests!`: the contracts of [`BlobStore`] and [`BlobCatalog`] as test suites |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod answer_probe;
pub mod authorize;
#[cfg(feature = "axum")]
pub mod axum;
mod blocks;
mod body;
pub mod builder;
pub mod client_addr;
mod confirm_body;
mod decode_base64;
pub mod digest;
mod drain_body;
mod encoding;
pub mod error;
pub mod exchange;
pub mod extract_key;
mod format_errors;
mod framing;
mod grant;
pub mod kazoo_id;
pub mod key;
mod limit_body;
mod limit_concurrency;
pub mod metadata;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod normalize;
pub mod observe;
mod outcome;
pub mod probe;
mod progress;
mod reject;
mod reject_ambiguous_framing;
mod reject_stalled_body;
mod retry_after;
pub mod rewrite;
mod serve;
pub mod settings;
mod split_multipart;
pub mod store;
mod verify_digest;

#[cfg(all(feature = "fs", unix))]
#[doc(inline)]
pub use self::store::FsStore;
#[cfg(feature = "object-store")]
#[doc(inline)]
pub use self::store::ObjectStoreBlobs;
#[doc(inline)]
pub use self::{
    answer_probe::AnswerProbe,
    authorize::{AccessRules, Authorize},
    body::Body,
    builder::KazooStorage,
    client_addr::PeerAddr,
    confirm_body::ConfirmBody,
    decode_base64::{Base64, DecodeBase64},
    drain_body::DrainBody,
    error::{Error, ErrorKind, Result},
    extract_key::{ExtractKey, PathKey},
    format_errors::FormatErrors,
    grant::Grant,
    key::BlobKey,
    limit_body::LimitBody,
    limit_concurrency::LimitConcurrency,
    metadata::Metadata,
    observe::{Event, Observe},
    outcome::Outcome,
    reject_ambiguous_framing::RejectAmbiguousFraming,
    reject_stalled_body::RejectStalledBody,
    retry_after::RetryAfter,
    serve::ServeBlobs,
    split_multipart::SplitMultipart,
    store::{Blob, BlobCatalog, BlobInfo, BlobStore, ByteRange, GetResult, MemoryStore, PutResult, Upload},
    verify_digest::VerifyDigest,
};

/// Compiles the examples in the README.
#[cfg(all(doctest, feature = "fs"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples in the pages.
#[cfg(all(doctest, feature = "fs"))]
#[cfg_attr(feature = "axum", doc = include_str!("../docs/axum.md"))]
#[doc = include_str!("../docs/hyper.md")]
#[doc = include_str!("../docs/layers.md")]
#[doc = include_str!("../docs/wrap-a-store.md")]
#[doc = include_str!("../docs/tower-http.md")]
#[doc = include_str!("../docs/metadata.md")]
#[doc = include_str!("../docs/multi-tenant.md")]
#[cfg_attr(feature = "conformance", doc = include_str!("../docs/write-a-store.md"))]
struct Pages;
