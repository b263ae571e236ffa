//! [`Worker`]: sends events to one receiver.

use std::{
    future::{Future, pending},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kazoo_storage::Result;
use tokio::{
    select,
    sync::watch,
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{answer::Answer, attempts::Attempts, health::Health, receiver::Receiver};
use crate::{gone_receivers::GoneReceivers, ledger::Ledger, outbox::Claim};

/// Interval at which the ledger is read: another process may have recorded an event.
const POLL: Duration = Duration::from_secs(1);

/// Time in which an event must be settled after its answer.
const MARGIN: Duration = Duration::from_secs(10);

/// Maximum number of events that are claimed at once: each may have a document as long as an upload permits.
const CLAIMS: usize = 32;

/// Length of the documents of claimed events, in bytes, from which on no more are claimed. The usual ones are a few KiB each.
const DOCUMENTS: usize = 8 << 20;

/// Minimum interval between two log records of rejected events.
const WARNING: Duration = Duration::from_secs(60);

/// Sends events to one receiver.
#[derive(Debug)]
pub(super) struct Worker {
    visibility: Duration,
    in_flight: usize,
    attempts: Arc<Attempts>,
    /// The length of the documents of the claimed events, in bytes.
    documents: Arc<AtomicUsize>,
}

/// The document of a claimed event, until the event is settled.
struct Document {
    len: usize,
    total: Arc<AtomicUsize>,
}

/// The event that a worker waits for when it has claimed all it can.
enum Wait {
    Nothing,
    /// For an answer.
    Answer,
    /// For the end of a pause.
    Until(Instant),
    /// For a new event.
    Event,
}

impl Worker {
    pub(super) fn new(ledger: Ledger, receiver: Receiver, gone: GoneReceivers) -> Result<Self> {
        Ok(Self {
            // A claimed event may wait for an answer to another one, and then for its own.
            visibility: receiver.timeout.saturating_mul(2).saturating_add(MARGIN),
            in_flight: receiver.in_flight,
            attempts: Arc::new(Attempts::new(ledger, receiver, gone)?),
            documents: Arc::default(),
        })
    }

    /// Returns the name of the receiver in the ledger.
    pub(super) fn receiver(&self) -> &str {
        self.attempts.receiver()
    }

    /// Sends events until `stopped` is `true` or the receiver is gone, and waits for the answers.
    pub(super) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let mut health = Health::new(self.in_flight);
        let mut warned = None;
        let mut is_gone = false;
        while !is_gone && !self.ledger().is_closed() {
            // Created before the claim, so that an event recorded in between is not missed.
            let changed = self.ledger().changed();
            let wait = self.fill(&mut tasks, &health).await;
            select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    let mut next = Some(ended);
                    while let Some(ended) = next {
                        if let Some(answer) = ended.unwrap_or_else(|error| Some(crashed(&error))) {
                            is_gone |= self.record(answer, &mut health, &mut warned);
                        }
                        next = tasks.try_join_next();
                    }
                }
                () = wait.until(changed) => {}
            }
        }
        self.attempts.stop();
        while tasks.join_next().await.is_some() {}
        self.attempts.close().await;
    }

    /// Claims as many events as the receiver may have, and starts to send them.
    async fn fill(&self, tasks: &mut JoinSet<Option<Answer>>, health: &Health) -> Wait {
        if let Some(until) = health.pause() {
            return Wait::Until(until);
        }
        let room = health.limit().saturating_sub(tasks.len()).min(CLAIMS);
        if room == 0 || self.documents.load(Ordering::Relaxed) >= DOCUMENTS {
            return Wait::Answer;
        }
        let receiver = self.receiver();
        let claims = match self.ledger().claim(receiver, room, self.visibility).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::error!(receiver, %error, "the ledger failed");
                return Wait::Until(Instant::now() + POLL);
            }
        };
        let (wanted, unwanted): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| self.attempts.wants(&claim.event));
        let may_be_more = wanted.len() + unwanted.len() == room;
        for mut claim in wanted {
            let document = self.document(&mut claim);
            let attempt = Arc::clone(&self.attempts).run(claim);
            tasks.spawn(async move {
                let answer = attempt.await;
                drop(document);
                answer
            });
        }
        if unwanted.is_empty() {
            return if may_be_more { Wait::Nothing } else { Wait::Event };
        }
        if let Err(error) = self.ledger().skip(&unwanted).await {
            tracing::error!(receiver, %error, "the ledger failed");
        }
        Wait::Nothing
    }

    /// Counts the document of the event of `claim`, or drops it if the receiver does not get it.
    fn document(&self, claim: &mut Claim) -> Document {
        let document = &mut claim.event.file.metadata;
        if !self.attempts.sends_documents() {
            *document = None;
        }
        let len = document.as_ref().map_or(0, |document| document.as_json().len());
        let total = Arc::clone(&self.documents);
        total.fetch_add(len, Ordering::Relaxed);
        Document { len, total }
    }

    /// Records the end of an attempt. Returns `true` if the receiver wants no more.
    fn record(&self, answer: Answer, health: &mut Health, warned: &mut Option<Instant>) -> bool {
        let receiver = self.receiver();
        match answer {
            Answer::Delivered => {
                if health.succeeded() {
                    tracing::info!(receiver, "the receiver accepts events again");
                }
            }
            Answer::Rejected { error } => {
                // The others need not wait for it.
                health.succeeded();
                if is_due(warned) {
                    tracing::warn!(
                        receiver,
                        error,
                        "the receiver rejects events; they are sent again later"
                    );
                }
            }
            Answer::Failed { error, retry_after } => {
                if health.failed(retry_after) {
                    tracing::warn!(receiver, error, "the receiver fails; it gets one event at a time now");
                } else if is_due(warned) {
                    tracing::warn!(receiver, error, "an event was not delivered; it is sent again later");
                }
            }
            Answer::Gone { error } => {
                tracing::error!(
                    receiver,
                    error,
                    "the receiver wants no more events; they are kept, and none is sent until a reload or restart. \
                     Correct its URL, or remove it from the configuration"
                );
                return true;
            }
        }
        false
    }

    fn ledger(&self) -> &Ledger {
        self.attempts.ledger()
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.total.fetch_sub(self.len, Ordering::Relaxed);
    }
}

impl Wait {
    async fn until(self, changed: impl Future<Output = ()>) {
        match self {
            Self::Nothing => {}
            Self::Answer => pending().await,
            Self::Until(end) => sleep_until(end).await,
            Self::Event => drop(timeout(POLL, changed).await),
        }
    }
}

/// Returns `true` once in each time of [`WARNING`].
fn is_due(warned: &mut Option<Instant>) -> bool {
    let is_due = warned.is_none_or(|warned| warned.elapsed() > WARNING);
    if is_due {
        *warned = Some(Instant::now());
    }
    is_due
}

/// A defect: the event is sent again when its claim ends.
fn crashed(error: &JoinError) -> Answer {
    Answer::failed(error.to_string())
}
