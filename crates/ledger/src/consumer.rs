//! [`Consumer`]: a durable queue of events, and [`Job`], one of them.

use std::{fmt, time::Duration};

use kazoo_storage::{Error, ErrorKind, Result};
use tokio::time::{sleep, timeout};

use crate::{
    database::{Statement, statement},
    event::Event,
    ledger::Ledger,
    outbox::Claim,
};

/// The default time after which an unacknowledged job is received again.
const VISIBILITY: Duration = Duration::from_secs(300);

/// Interval at which the ledger is read: another process may have recorded an event.
const POLL: Duration = Duration::from_secs(1);

/// The names of webhooks in the ledger begin with this.
pub(crate) const WEBHOOK: &str = "webhook:";

/// The names of AMQP exchanges in the ledger begin with this.
pub(crate) const AMQP: &str = "amqp:";

/// The prefixes of the names of receivers that are not consumers.
pub(crate) const PREFIXES: [&str; 2] = [WEBHOOK, AMQP];

/// A durable queue of the events of a [`Ledger`].
///
/// Each event that was recorded after the [registration](Ledger::consumer) of the consumer is received at least once,
/// the events of one key in their order. Tasks may share a consumer, and processes may use the same name: each event is
/// then received by one of them.
#[derive(Clone, Debug)]
pub struct Consumer {
    ledger: Ledger,
    name: String,
    visibility: Duration,
}

impl Ledger {
    /// Registers the consumer `name`, if it is new, and returns it.
    ///
    /// A consumer receives every event that is recorded after its registration, and keeps its events while no process
    /// runs it. One that is no longer used collects them, and the ledger grows, until
    /// [`remove_receiver`](Ledger::remove_receiver). Consumers with the same name, in any number of tasks and processes, share the
    /// events. A name does not begin with `webhook:` or `amqp:`, the prefixes of other receivers.
    pub async fn consumer(&self, name: impl Into<String>) -> Result<Consumer> {
        let name = name.into();
        if let Some(prefix) = PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
            let message = format!(
                "the name of a consumer must not begin with `{prefix}`, which is reserved for other receivers; choose another name"
            );
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        self.change(vec![activate(&name)]).await?;
        Ok(Consumer::new(self.clone(), name))
    }
}

/// Returns the statement that gives `receiver` every event from now on.
pub(crate) fn activate(receiver: &str) -> Statement {
    const SQL: &str = "INSERT INTO receivers (name, active) VALUES ($1, 1) ON CONFLICT (name) DO UPDATE SET active = 1";
    statement!(SQL, receiver)
}

impl Consumer {
    pub(crate) fn new(ledger: Ledger, name: String) -> Self {
        Self {
            ledger,
            name,
            visibility: VISIBILITY,
        }
    }

    /// Sets the time after which a job that was not acknowledged is received again, 5 minutes by default. Choose it longer
    /// than the longest job.
    #[must_use]
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = visibility;
        self
    }

    /// Waits for the next event. Returns `None` after [`Ledger::close`].
    ///
    /// Events of other processes are received within a second. While the ledger fails, this logs the error and tries again
    /// every second. If the future is dropped, an event that it has claimed is received again after the
    /// [`visibility`](Self::visibility) timeout.
    pub async fn next(&self) -> Option<Job> {
        while !self.ledger.is_closed() {
            // Created before the claim, so that an event recorded in between is not missed.
            let changed = self.ledger.changed();
            match self.try_next().await {
                Ok(Some(job)) => return Some(job),
                Ok(None) => drop(timeout(POLL, changed).await),
                Err(error) => {
                    tracing::error!(consumer = self.name, %error, "the ledger failed");
                    sleep(POLL).await;
                }
            }
        }
        None
    }

    /// Returns the next event, or `None` if none is due now.
    pub async fn try_next(&self) -> Result<Option<Job>> {
        let claims = self.ledger.claim(&self.name, 1, self.visibility).await?;
        Ok(claims.into_iter().next().map(|claim| self.job(claim)))
    }

    fn job(&self, claim: Claim) -> Job {
        Job {
            ledger: self.ledger.clone(),
            claim,
        }
    }
}

/// An event that a [`Consumer`] received. If it is dropped without an acknowledgement, it is received again after the
/// consumer's [`visibility`](Consumer::visibility) timeout.
pub struct Job {
    ledger: Ledger,
    claim: Claim,
}

impl Job {
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.claim.event
    }

    /// Returns the number of times that the event was received, this time included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        u64::try_from(self.claim.attempts).unwrap_or_default()
    }

    /// Removes the event: the work is done. Returns `false` if the event was received again since, because the visibility
    /// timeout had passed.
    pub async fn ack(self) -> Result<bool> {
        self.ledger.delivered(&self.claim).await
    }

    /// Makes the event due again after `delay`, for example because a service is down. Until then, later events of its key
    /// wait. The first 500 characters of `error` are kept for the operator. Returns as [`ack`](Self::ack) does.
    pub async fn retry(self, delay: Duration, error: impl fmt::Display) -> Result<bool> {
        self.ledger.failed(&self.claim, &error.to_string(), Some(delay)).await
    }

    /// Gives the event up: it is kept for the operator, and not received again. Later events of its key
    /// are still received.
    pub async fn bury(self, error: impl fmt::Display) -> Result<bool> {
        self.ledger.failed(&self.claim, &error.to_string(), None).await
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("claim", &self.claim)
            .finish_non_exhaustive()
    }
}
