//! The names, labels and descriptions of the metrics of the ledger.
//!
//! The dashboard, the alerts and the documentation use these names; tests compare them.

use kazoo_storage::metrics::{Kind, Metric, Unit};

/// Name of the receiver, as in [`ReceiverStatus::name`](crate::ReceiverStatus::name).
pub const LABEL_RECEIVER: &str = "receiver";
/// `delivered`, `failed`, `dead` or `gone`.
pub const LABEL_OUTCOME: &str = "outcome";
/// `full`, `locked`, `damaged`, `unavailable` or `other`.
pub const LABEL_CAUSE: &str = "cause";
/// Name of an [`EventKind`](crate::EventKind).
pub const LABEL_EVENT: &str = "event";

/// Time until a change of a file is durable in the ledger.
pub const COMMIT_DURATION: &str = "kazoo_storage.ledger.commit.duration";
/// Writes in one commit.
pub const COMMIT_WRITES: &str = "kazoo_storage.ledger.commit.writes";
/// Failed reads and writes.
pub const LEDGER_ERRORS: &str = "kazoo_storage.ledger.errors";
/// Size of the ledger.
pub const LEDGER_SIZE: &str = "kazoo_storage.ledger.size";
/// Recorded events.
pub const EVENTS_RECORDED: &str = "kazoo_storage.events.recorded";
/// Events that wait for a receiver.
pub const EVENTS_WAITING: &str = "kazoo_storage.events.waiting";
/// Events that were given up.
pub const EVENTS_DEAD: &str = "kazoo_storage.events.dead";
/// Age of the oldest event that waits.
pub const EVENTS_OLDEST_AGE: &str = "kazoo_storage.events.oldest.age";
/// Attempts to deliver an event.
pub const DELIVERY_ATTEMPTS: &str = "kazoo_storage.delivery.attempts";
/// Duration of an attempt.
pub const DELIVERY_DURATION: &str = "kazoo_storage.delivery.duration";

/// All metrics of this crate.
pub const ALL: &[Metric] = &[
    Metric::new(
        COMMIT_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        &[],
        "Time that an upload or a deletion waits until the ledger has recorded it",
    ),
    Metric::new(
        COMMIT_WRITES,
        Kind::Histogram,
        Unit::Count,
        &[],
        "Writes in a commit of the ledger: uploads, deletions, and claims and results of deliveries share commits",
    ),
    Metric::new(
        LEDGER_ERRORS,
        Kind::Counter,
        Unit::Count,
        &[LABEL_CAUSE],
        "Failed reads and writes of the ledger; an upload that it cannot record is answered with 503",
    ),
    Metric::new(
        LEDGER_SIZE,
        Kind::Gauge,
        Unit::Bytes,
        &[],
        "Size of the ledger, without its write-ahead log",
    ),
    Metric::new(
        EVENTS_RECORDED,
        Kind::Counter,
        Unit::Count,
        &[LABEL_EVENT],
        "Recorded events, each counted once, however many receivers there are",
    ),
    Metric::new(
        EVENTS_WAITING,
        Kind::Gauge,
        Unit::Count,
        &[LABEL_RECEIVER],
        "Events that the receiver does not have yet",
    ),
    Metric::new(
        EVENTS_DEAD,
        Kind::Gauge,
        Unit::Count,
        &[LABEL_RECEIVER],
        "Events that were given up, and are kept",
    ),
    Metric::new(
        EVENTS_OLDEST_AGE,
        Kind::Gauge,
        Unit::Seconds,
        &[LABEL_RECEIVER],
        "Age of the oldest event that the receiver does not have yet; 0 if there is none, or if the receiver is no longer configured",
    ),
    Metric::new(
        DELIVERY_ATTEMPTS,
        Kind::Counter,
        Unit::Count,
        &[LABEL_RECEIVER, LABEL_OUTCOME],
        "Attempts to deliver an event, by their outcome",
    ),
    Metric::new(
        DELIVERY_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        &[LABEL_RECEIVER],
        "Time from the start of an attempt to the answer of the receiver, or to its timeout",
    ),
];
