//! A database of the files that KAZOO has stored, and a durable queue of their changes.
//!
//! KAZOO expects its storage server to answer as soon as a file is safe, and to process the file later. [`Recorded`]
//! wraps a store: it records each upload and each deletion in a [`Ledger`] before it returns, so every acknowledged file
//! has its [`Event`]. A [`Consumer`] takes the events from the ledger, each at least once, also after a
//! crash:
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
//!     // A job that is not acknowledged comes back after its timeout.
//!     job.ack().await?;
//! #   ledger.close();
//! }
//! # Ok::<(), kazoo_storage::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Databases
//!
//! [`Ledger::sqlite`] keeps the ledger in a file, which the processes of one machine share. With the feature `postgres`,
//! [`Ledger::open`] takes a URL such as `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full` too: several servers
//! that store files in one bucket share that ledger, and each event of a consumer goes to one of them.
//!
//! A ledger needs a Tokio runtime with timers, and with I/O for PostgreSQL and deliveries. SQLite has two threads and two
//! connections, PostgreSQL two tasks and two connections. Every change is durable when its call returns, so nothing needs to
//! be flushed on shutdown.
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
//! - The ledger never decides where a file is. A lost ledger loses no file: [`Ledger::reindex`] rebuilds the rows.

mod consumer;
mod database;
#[cfg(any(feature = "amqp", feature = "webhooks"))]
pub mod delivery;
mod event;
mod events;
mod file;
mod key_locks;
mod ledger;
mod location;
#[cfg(feature = "metrics")]
pub mod metrics;
mod outbox;
mod record;
mod recorded;
mod reindex;
mod rows;
mod search;
mod time;
#[cfg(not(feature = "metrics"))]
mod unmeasured;

/// Compiles the examples in the page.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/jobs.md")]
struct Jobs;

/// Compiles the examples in the page.
#[cfg(all(doctest, feature = "amqp", feature = "webhooks"))]
#[doc = include_str!("../../../docs/events.md")]
struct Events;

#[cfg(feature = "metrics")]
use self::metrics::record as measure;
#[cfg(not(feature = "metrics"))]
use self::unmeasured as measure;

pub use self::{
    consumer::{Consumer, Job},
    event::{Event, EventKind},
    events::{Backlog, Dead, EventState, ReceiverStatus, Replay, Replayed, Retried, Undelivered},
    file::FileRecord,
    ledger::{Ledger, LedgerOptions},
    location::Location,
    recorded::Recorded,
    reindex::{Reindex, Reindexed},
    search::Search,
};
