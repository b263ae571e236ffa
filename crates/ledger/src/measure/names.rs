//! The names, labels and descriptions of the metrics of the ledger.
//!
//! The dashboard, the alerts and the documentation use these names; tests compare them.

use kazoo_storage::metrics::{Kind, Metric, Unit};

/// Name of the receiver, as in [`ReceiverStatus::name`](crate::events::ReceiverStatus::name).
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
/// Files that retention has removed.
pub const RETENTION_REMOVED: &str = "kazoo_storage.retention.removed";
/// Files that retention could not remove.
pub const RETENTION_FAILURES: &str = "kazoo_storage.retention.failures";
/// 1 while retention is suspended.
pub const RETENTION_SUSPENDED: &str = "kazoo_storage.retention.suspended";
/// Accounts that use at least 80 % of their quota.
pub const QUOTA_NEAR: &str = "kazoo_storage.quota.near";
/// Uploads over a quota.
pub const QUOTA_REFUSALS: &str = "kazoo_storage.quota.refusals";

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
    Metric::new(
        RETENTION_REMOVED,
        Kind::Counter,
        Unit::Count,
        &[],
        "Files that a retention rule or a request for deletion has removed",
    ),
    Metric::new(
        RETENTION_FAILURES,
        Kind::Counter,
        Unit::Count,
        &[],
        "Files that retention could not remove because of the store or the ledger; their removal is retried",
    ),
    Metric::new(
        RETENTION_SUSPENDED,
        Kind::Gauge,
        Unit::Count,
        &[],
        "1 while retention is suspended, because a clock is wrong",
    ),
    Metric::new(
        QUOTA_NEAR,
        Kind::Gauge,
        Unit::Count,
        &[],
        "Accounts that use at least 80 % of their quota, of those that have stored a file since the start",
    ),
    Metric::new(
        QUOTA_REFUSALS,
        Kind::Counter,
        Unit::Count,
        &[],
        "Uploads that were answered with 507 because of a quota",
    ),
];
