//! [`Attempts`]: sends claimed events, and settles them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use kazoo_storage::Result;
use tokio::{sync::Semaphore, time::Instant};

use super::{answer::Answer, back_off, cloud_event, receiver::Receiver, transport::Transport};
use crate::{event::Event, gone_receivers::GoneReceivers, ledger::Ledger, measure::DeliveryCounts, outbox::Claim};

/// Sends the claimed events of one receiver, each in a task of its own.
pub(super) struct Attempts {
    ledger: Ledger,
    gone: GoneReceivers,
    receiver: Receiver,
    /// The name of the receiver in the ledger.
    id: String,
    transport: Transport,
    /// One for each event in flight. Closed when nothing more is to be sent.
    permits: Semaphore,
    counts: DeliveryCounts,
}

impl Attempts {
    pub(super) fn new(ledger: Ledger, receiver: Receiver, gone: GoneReceivers) -> Result<Self> {
        let id = receiver.id();
        Ok(Self {
            ledger,
            gone,
            counts: DeliveryCounts::new(&id),
            id,
            transport: Transport::new(&receiver)?,
            permits: Semaphore::new(receiver.in_flight),
            receiver,
        })
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Returns the name of the receiver in the ledger.
    pub(super) fn receiver(&self) -> &str {
        &self.id
    }

    /// Returns `true` if the receiver gets `event`.
    pub(super) fn wants(&self, event: &Event) -> bool {
        self.receiver.wants(event)
    }

    /// Returns `true` if the receiver gets the documents of uploads.
    pub(super) fn sends_documents(&self) -> bool {
        self.receiver.metadata
    }

    /// Releases the events that are not in flight.
    pub(super) fn stop(&self) {
        self.permits.close();
    }

    /// Ends the connection to the receiver.
    pub(super) async fn close(&self) {
        self.transport.close().await;
    }

    /// Sends the event of `claim`, and settles it. The next event is sent while this one is settled. Returns `None` if nothing was sent.
    pub(super) async fn run(self: Arc<Self>, claim: Claim) -> Option<Answer> {
        let answer = match self.permits.acquire().await {
            Ok(_permit) => {
                let begun = Instant::now();
                let answer = self.send(&claim.event).await;
                self.counts.answered(begun.elapsed());
                if matches!(answer, Answer::Gone { .. }) {
                    self.gone.insert(&self.id);
                    // Before the permit is free.
                    self.permits.close();
                }
                answer
            }
            Err(_closed) => {
                self.settle(self.ledger.failed(&claim, "not sent yet", Some(Duration::ZERO)))
                    .await;
                return None;
            }
        };
        self.conclude(&claim, &answer).await;
        Some(answer)
    }

    async fn send(&self, event: &Event) -> Answer {
        match cloud_event::encode(event, &self.receiver) {
            Ok(body) => self.transport.send(event, body).await,
            Err(error) => Answer::failed(error.to_string()),
        }
    }

    /// Settles the event of `claim` after an attempt. Every attempt of every receiver ends here; [`fail`](Self::fail) decides
    /// if the event is dead.
    async fn conclude(&self, claim: &Claim, answer: &Answer) {
        match answer {
            Answer::Delivered => {
                self.counts.delivered();
                self.settle(self.ledger.delivered(claim)).await;
            }
            Answer::Gone { error } => {
                self.counts.gone();
                self.settle(self.ledger.failed(claim, error, Some(Duration::ZERO)))
                    .await;
            }
            Answer::Rejected { error } => self.fail(claim, error, None).await,
            Answer::Failed { error, retry_after } => self.fail(claim, error, *retry_after).await,
        }
    }

    async fn fail(&self, claim: &Claim, error: &str, retry_after: Option<Duration>) {
        let (receiver, event, attempts) = (&*self.id, &*claim.event.id, claim.attempts);
        let age = SystemTime::now().duration_since(claim.event.time);
        let delay = if age.unwrap_or_default() > self.receiver.max_age {
            tracing::error!(receiver, event, attempts, error, "an event is too old to be sent again");
            self.counts.dead();
            None
        } else {
            tracing::debug!(receiver, event, attempts, error, "an event was not delivered");
            self.counts.failed();
            Some(back_off::delay(attempts, retry_after))
        };
        self.settle(self.ledger.failed(claim, error, delay)).await;
    }

    /// Waits for the ledger. If it fails, the event is sent again when its claim ends.
    async fn settle(&self, settled: impl Future<Output = Result<bool>>) {
        if let Err(error) = settled.await {
            tracing::error!(receiver = self.id, %error, "the ledger failed");
        }
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attempts").field(&self.receiver).finish()
    }
}
