//! KAZOO's storage handler as a client: it sends what each release since 4.0 sends, byte for byte, and treats responses as KAZOO
//! does.
//!
//! It tests, loads and checks a server as KAZOO would:
//!
//! ```no_run
//! use kazoo_storage_client::{Attachment, Client, Dialect, Document, Handler};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let handler = Handler::new("http://storage.example.com:8080/some_prefix")?.send_multipart(true);
//! let document = Document::from_json(r#"{"_id":"202401-9f86d081","metadata":{"folder":"new"}}"#)?;
//! let message = Attachment::new("0c8f1c4a", document, "message.mp3", "ID3…");
//!
//! let mut client = Client::new();
//! for dialect in Dialect::ALL {
//!     let stored = client.store(dialect, &handler, &message).await?;
//!     let fetched = client.fetch(dialect, &handler, &stored.url, &message).await?;
//!     assert_eq!(fetched.content, message.content());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A [`Dialect`] describes a range of releases, a [`Handler`] holds the settings, an [`Attachment`] is a file. Together they
//! build requests, [`Outgoing`], without any I/O. [`Client`] sends them and returns what KAZOO would regard as [`StoredFile`],
//! [`FetchedFile`] or a [`Failure`]. [`Client::probe`] does what KAZOO does when an administrator saves the settings; the
//! [`SaveResult`] is what KAZOO shows the administrator.
//!
//! The dialects of the KAZOO releases send what was captured on Erlang up to OTP 21, which puts names outside ASCII and
//! the path of the URL into the request line unchanged. With [`Dialect::normalizes_url`] a dialect behaves as on later
//! releases of Erlang: it sends nothing for such a name, and sends the path of the URL normalized. The client cannot
//! send request targets that hyper rejects: a space in a folder, and a backtick in a name, which KAZOO does not escape.
//!
//! [`Client::over`] needs no network: a service in the same process answers. [`testing`] plays every release against a
//! service in one call.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `tls` (default) | `https` URLs, and `Tls`; brings in rustls and aws-lc |
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attachment;
mod chunks;
mod client;
mod connect;
mod dialect;
mod document;
mod escape;
mod failure;
mod handler;
mod in_process;
mod json;
mod judge;
mod multipart;
mod name;
mod probe;
mod request;
mod status;
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
pub use self::tls::Tls;
pub use self::{
    attachment::Attachment,
    client::{Client, FetchedFile, StoredFile, Timeouts},
    dialect::{Dialect, Escaping, FetchTarget, Multipart},
    document::Document,
    failure::{Failure, FailureKind, History, Redirect},
    handler::{Handler, Verb},
    in_process::LocalService,
    multipart::Boundary,
    probe::{ProbeReport, SaveResult},
    request::Outgoing,
};
pub use kazoo_storage::settings::StorageUrl;

/// Compiles the examples in the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/test-with-kazoo.md")]
struct Page;
