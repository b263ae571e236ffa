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
//! The module [`events`] has the types that show and steer the events that were not acknowledged, the module [`keep`] those that
//! protect and remove files, the module [`policy`] those that determine how long files are kept, and the module [`audit`] those of the
//! audit trail.
//!
//! # Databases
//!
//! [`Ledger::sqlite`] keeps the ledger in a file, which the processes of one machine share. With the feature `postgres`,
//! [`Ledger::open`] takes a URL such as `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full` too: several servers
//! that store files in one bucket share that ledger, and each event of a consumer goes to one of them.
//!
//! A ledger needs a Tokio runtime with timers, and with I/O for PostgreSQL and deliveries. SQLite has three threads and two
//! connections, PostgreSQL four tasks and four connections. Every change is durable when its call returns, so nothing needs to
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
//! - A file that a [hold](keep) keeps is neither deleted nor replaced through [`Recorded`].
//! - The ledger never decides where a file is. A lost ledger loses no file: [`Ledger::reindex`] rebuilds the rows. Its holds and
//!   its undelivered events are lost.

pub mod audit;
mod clock;
mod consumer;
mod database;
#[cfg(any(feature = "amqp", feature = "webhooks"))]
pub mod delivery;
mod event;
pub mod events;
mod file;
mod finishing;
mod gone;
pub mod keep;
mod key_locks;
mod ledger;
mod location;
#[cfg(feature = "metrics")]
pub mod metrics;
mod outbox;
pub mod policy;
pub mod quota;
mod record;
mod recorded;
mod reindex;
mod rows;
mod search;
mod time;
#[cfg(not(feature = "metrics"))]
mod unmeasured;
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

#[cfg(feature = "metrics")]
use self::metrics::record as measure;
#[cfg(not(feature = "metrics"))]
use self::unmeasured as measure;

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
