//! KAZOO's storage handler as a client: what each release since 4.0 sends, byte for byte, and what it makes of the answers.
//!
//! With it a server can be tried, loaded and tested as if KAZOO itself were there:
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
//! [`Dialect`] is what differs between releases, [`Handler`] the settings, [`Attachment`] a file; together they make requests,
//! [`Outgoing`], without any I/O. [`Client`] sends them and judges the answers: what KAZOO takes for [`Stored`] or for
//! [`Fetched`], or the [`Failure`] that it sees. [`Client::probe`] is what happens when an administrator saves the settings,
//! and [`Shown`] what he is shown.
//!
//! The dialects of the KAZOO releases send what was captured on Erlang up to OTP 21, which puts names outside ASCII and
//! the path of the URL into the request line unchanged. With [`Dialect::normalizes_url`] a dialect behaves as on later
//! releases of Erlang: it sends nothing for such a name, and sends the path of the URL normalized. The client cannot
//! send request targets that hyper rejects: a space in a folder, and a backtick in a name, which KAZOO does not escape.

mod attachment;
#[expect(clippy::module_inception, reason = "the file of `Client`")]
mod client;
mod connect;
mod dialect;
mod document;
mod escape;
mod failure;
mod handler;
mod json;
mod judge;
mod multipart;
mod name;
mod pieces;
mod probe;
mod request;
mod status;

pub use self::{
    attachment::Attachment,
    client::{Client, Fetched, Patience, Stored},
    connect::Tls,
    dialect::{Dialect, Escaping, FetchTarget, Multipart},
    document::Document,
    failure::{Course, Failure, FailureKind, Redirect},
    handler::{Handler, Verb},
    multipart::Boundary,
    probe::{Shown, Trial},
    request::Outgoing,
};
pub use kazoo_storage::settings::StorageUrl;
