//! A database of the files that KAZOO has stored, and a durable queue of their changes.
//!
//! KAZOO expects its storage server to answer as soon as a file is safe, and to process the file later. [`Recorded`]
//! wraps a store: it records each upload and each deletion in a [`Ledger`] before it returns, so every acknowledged file
//! has its [`Event`]. A [`Consumer`] receives each event from the ledger at least once, even after a crash:
//!
//! ```
//! use kazoo_storage::{BlobKey, BlobStore, MemoryStore, Upload, kazoo_id::AttachmentKind};
//! use kazoo_storage_ledger::{EventKind, Ledger, Recorded};
//!
//! # async fn transcribe(_: &BlobKey) -> Result<(), kazoo_storage::Error> { Ok(()) }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! # let path = directory.path().join("ledger.sqlite");
//! let ledger = Ledger::sqlite(path).await?;
//! // Register consumers before the first upload: an event is kept for the consumers that exist.
//! let consumer = ledger.consumer("transcribe").await?;
//! let store = Recorded::new(MemoryStore::new(), ledger.clone());
//!
//! let key = BlobKey::from_path("/ACCOUNT/202401-DOCUMENT/0c8f1c4ab2d9e3f70c8f1c4ab2d9e3f7.mp3")?;
//! store.put(Upload::new(key, "ID3…")).await?;
//!
//! while let Some(job) = consumer.next().await {
//!     if job.event().kind == EventKind::Stored && job.event().file.kind == Some(AttachmentKind::Voicemail) {
//!         transcribe(&job.event().file.key).await?;
//!     }
//!     // An unacknowledged job is received again after its timeout.
//!     job.ack().await?;
//! #   ledger.close();
//! }
//! # Ok::<(), kazoo_storage::Error>(())
//! # }).unwrap();
//! ```
//!
//! | module | types for |
//! | --- | --- |
//! | [`events`] | listing, retrying, discarding and replaying events that were not acknowledged |
//! | [`holds`], [`protection`] | holds, and what protects a file |
//! | [`policy`], [`quota`] | how long files are kept, and how much space an account has |
//! | [`removal`], [`retention`] | the removal of files, by the operator and by the policy |
//! | [`audit`] | the audit trail |
//! | [`verify`] | comparing a store with its ledger |
//!
//! # Databases
//!
//! [`Ledger::sqlite`] keeps the ledger in a file, which the processes of one machine share. With the feature `postgres`,
//! [`Ledger::open`] also takes a URL such as `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full`. Several servers
//! that store files in one bucket share such a ledger, and each event of a consumer goes to one of them.
//!
//! A ledger needs a Tokio runtime with timers, and with I/O for PostgreSQL and deliveries. It uses three threads and two
//! connections for SQLite, or four tasks and four connections for PostgreSQL. Every change is durable when its call returns, so
//! nothing needs to be flushed on shutdown.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `amqp` | `AmqpExchange`, in the module `delivery` |
//! | `metrics` | the module `metrics`: measurements through the `metrics` crate |
//! | `postgres` | `postgres://…` as a location |
//! | `webhooks` | `Webhook`, in the module `delivery` |
//!
//! # Promises
//!
//! - An upload is acknowledged only after its file, its row and its events are durable. If the ledger cannot record, the
//!   upload fails with [`ErrorKind::Unavailable`](kazoo_storage::ErrorKind::Unavailable): a 503 with `Retry-After`, after
//!   which KAZOO sends the file again.
//! - Each consumer receives each event at least once, and the events of one key in their order. An event has the same
//!   [id](Event::id) each time.
//! - A file that a [hold](holds) keeps is neither deleted nor replaced through [`Recorded`].
//! - The ledger never decides where a file is. If the ledger is lost, no file is lost, and [`Ledger::reindex`] rebuilds the rows. Its
//!   holds and its undelivered events are lost.

pub mod audit;
mod clock;
mod consumer;
mod continue_on_drop;
mod database;
#[cfg(any(feature = "amqp", feature = "webhooks"))]
pub mod delivery;
mod event;
pub mod events;
mod file;
mod gone_receivers;
pub mod holds;
mod key_locks;
mod ledger;
mod location;
mod measure;
#[cfg(feature = "metrics")]
pub mod metrics;
mod outbox;
pub mod policy;
pub mod protection;
pub mod quota;
mod record;
mod recorded;
mod reindex;
pub mod removal;
pub mod retention;
mod rows;
mod search;
mod time;
mod timekeeping;
mod uploads;
mod usage;
pub mod verify;

/// Compiles the examples in the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs.md")]
struct Jobs;

/// Compiles the examples in the page.
#[cfg(all(doctest, feature = "amqp", feature = "webhooks"))]
#[doc = include_str!("../../../docs/events.md")]
struct Events;

pub use self::{
    clock::{ClockFault, Suspension},
    consumer::{Consumer, Job},
    event::{Event, EventKind},
    file::FileRecord,
    ledger::{Ledger, LedgerOptions},
    location::Location,
    recorded::Recorded,
    reindex::{Reindex, Reindexed},
    search::Search,
    usage::Usage,
};
