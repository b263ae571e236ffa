//! [`Deliveries`]: sends the events of a ledger to its webhooks.

use std::{
    fmt,
    future::{Future, pending},
    sync::Arc,
    time::{Duration, SystemTime},
};

use kazoo_storage::Result;
use tokio::{
    select,
    sync::{Semaphore, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    config::Webhooks,
    endpoint::Webhook,
    health::{self, Health},
    request::{Answer, Sender},
};
use crate::{consumer::WEBHOOK, ledger::Ledger, measure::DeliveryCounts, outbox::Claim};

/// Maximum time between two looks at the ledger: another process may have recorded something.
const POLL: Duration = Duration::from_secs(1);

/// Time after the answers to a claimed event and to those before it, in which it must be settled.
const MARGIN: Duration = Duration::from_secs(10);

/// Sends the events of a ledger to its webhooks, while it [runs](Self::run).
#[derive(Debug)]
#[must_use = "nothing is sent until `run`"]
pub struct Deliveries {
    workers: Vec<Worker>,
}

impl Ledger {
    /// Makes `webhooks` the receivers of every event that is recorded from now on, in place of earlier ones, also those of
    /// other processes: servers that share a ledger must pass the same webhooks.
    ///
    /// A receiver is known by its [name](Webhook::named). The events of one that is no longer among them stay in the
    /// ledger: this logs their number, and they are sent when the receiver is back. [Consumers](Ledger::consumer) are not
    /// affected.
    ///
    /// To change the webhooks while events are recorded, call this again, end the earlier [`Deliveries`], and run the new ones:
    /// no event is lost.
    pub async fn webhooks(&self, webhooks: Webhooks) -> Result<Deliveries> {
        let workers: Vec<Worker> = webhooks
            .into_iter()
            .map(|webhook| Worker::new(self.clone(), webhook))
            .collect::<Result<_>>()?;
        let names: Vec<String> = workers.iter().map(|worker| worker.receiver.clone()).collect();
        for abandoned in self.set_receivers(WEBHOOK, &names).await? {
            tracing::warn!(
                webhook = abandoned.name.trim_start_matches(WEBHOOK),
                events = abandoned.events,
                "a webhook is no longer configured, and has undelivered events; they stay until it is configured again"
            );
        }
        Ok(Deliveries { workers })
    }
}

impl Deliveries {
    /// Sends events until `shutdown` completes, then waits for the answers to those that are in flight, each up to its
    /// timeout. After [`Ledger::close`] it sends no more events, but still returns only after `shutdown`.
    ///
    /// If the future is dropped, what was in flight is sent again by the next run, after twice the webhook's timeout plus 10
    /// seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let mut running = JoinSet::new();
        for worker in self.workers {
            running.spawn(worker.run(stopped.clone()));
        }
        shutdown.await;
        stop.send_replace(true);
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a webhook's deliveries have failed");
            }
        }
    }
}

/// Sends events to one webhook.
#[derive(Debug)]
struct Worker {
    receiver: String,
    visibility: Duration,
    attempts: Arc<Attempts>,
}

/// What a worker does when it has claimed all it can.
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
    fn new(ledger: Ledger, webhook: Webhook) -> Result<Self> {
        let webhook = Arc::new(webhook);
        let receiver = format!("{WEBHOOK}{}", webhook.name);
        Ok(Self {
            visibility: webhook.timeout.saturating_mul(2).saturating_add(MARGIN),
            attempts: Arc::new(Attempts {
                sender: Sender::new(Arc::clone(&webhook))?,
                permits: Semaphore::new(webhook.in_flight),
                counts: DeliveryCounts::new(&receiver),
                ledger,
                webhook,
            }),
            receiver,
        })
    }

    async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let mut health = Health::new(self.attempts.webhook.in_flight);
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
                        is_gone |= self.record(ended.unwrap_or_else(|error| crashed(&error)), &mut health);
                        next = tasks.try_join_next();
                    }
                }
                () = wait.until(changed) => {}
            }
        }
        self.attempts.permits.close();
        while tasks.join_next().await.is_some() {}
    }

    /// Claims as many events as the receiver may have, and starts to send them.
    async fn fill(&self, tasks: &mut JoinSet<Outcome>, health: &Health) -> Wait {
        if let Some(until) = health.pause() {
            return Wait::Until(until);
        }
        let room = health.limit().saturating_sub(tasks.len());
        if room == 0 {
            return Wait::Answer;
        }
        let claims = match self.ledger().claim(&self.receiver, room, self.visibility).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::error!(webhook = self.name(), %error, "the ledger failed");
                return Wait::Until(Instant::now() + POLL);
            }
        };
        let (wanted, unwanted): (Vec<Claim>, Vec<Claim>) = claims
            .into_iter()
            .partition(|claim| self.attempts.webhook.wants(&claim.event));
        for claim in wanted {
            tasks.spawn(Arc::clone(&self.attempts).run(claim));
        }
        if unwanted.is_empty() {
            return Wait::Event;
        }
        if let Err(error) = self.ledger().skip(&unwanted).await {
            tracing::error!(webhook = self.name(), %error, "the ledger failed");
        }
        Wait::Nothing
    }

    /// Records the outcome of an attempt. Returns `true` if the receiver wants no more.
    fn record(&self, outcome: Outcome, health: &mut Health) -> bool {
        let webhook = self.name();
        match outcome {
            Outcome::Delivered => {
                if health.succeeded() {
                    tracing::info!(webhook, "the webhook accepts events again");
                }
            }
            Outcome::Failed { error, retry_after } => {
                if health.failed(retry_after) {
                    tracing::warn!(webhook, error, "the webhook fails; it gets one event at a time now");
                }
            }
            Outcome::Gone => {
                tracing::error!(
                    webhook,
                    "the webhook answered 410 Gone, and gets no events until a reload or restart; they are kept. Remove it \
                     from the configuration if that is right"
                );
                return true;
            }
            Outcome::Released => {}
        }
        false
    }

    fn ledger(&self) -> &Ledger {
        &self.attempts.ledger
    }

    fn name(&self) -> &str {
        &self.attempts.webhook.name
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

/// The end of an attempt.
enum Outcome {
    Delivered,
    Gone,
    Failed {
        error: String,
        retry_after: Option<Duration>,
    },
    /// Nothing was sent.
    Released,
}

/// Sends claimed events, each in a task of its own.
struct Attempts {
    ledger: Ledger,
    webhook: Arc<Webhook>,
    sender: Sender,
    /// One for each event in flight. Closed when nothing more is to be sent.
    permits: Semaphore,
    counts: DeliveryCounts,
}

impl Attempts {
    /// Sends the event of `claim`, and settles it. The next event is sent while this one is settled.
    async fn run(self: Arc<Self>, claim: Claim) -> Outcome {
        let answer = match self.permits.acquire().await {
            Ok(_permit) => {
                let begun = Instant::now();
                let answer = self.sender.send(&claim.event).await;
                self.counts.answered(begun.elapsed());
                if matches!(answer, Answer::Gone) {
                    // Before the permit is free.
                    self.permits.close();
                }
                answer
            }
            Err(_closed) => {
                self.settle(self.ledger.failed(&claim, "not sent yet", Some(Duration::ZERO)))
                    .await;
                return Outcome::Released;
            }
        };
        match answer {
            Answer::Delivered => {
                self.counts.delivered();
                self.settle(self.ledger.delivered(&claim)).await;
                Outcome::Delivered
            }
            Answer::Gone => {
                self.counts.gone();
                let error = "the receiver answered 410 Gone";
                self.settle(self.ledger.failed(&claim, error, Some(Duration::ZERO)))
                    .await;
                Outcome::Gone
            }
            Answer::Failed { error, retry_after } => {
                self.fail(&claim, &error, retry_after).await;
                Outcome::Failed { error, retry_after }
            }
        }
    }

    async fn fail(&self, claim: &Claim, error: &str, retry_after: Option<Duration>) {
        let (webhook, event, attempts) = (&*self.webhook.name, &*claim.event.id, claim.attempts);
        let age = SystemTime::now().duration_since(claim.event.time);
        let delay = if age.unwrap_or_default() > self.webhook.max_age {
            tracing::error!(webhook, event, attempts, error, "an event is too old to be sent again");
            self.counts.dead();
            None
        } else {
            tracing::debug!(webhook, event, attempts, error, "an event was not delivered");
            self.counts.failed();
            Some(health::delay(attempts, retry_after))
        };
        self.settle(self.ledger.failed(claim, error, delay)).await;
    }

    /// Waits for the ledger. If it fails, the event is sent again when its claim ends.
    async fn settle(&self, settled: impl Future<Output = Result<bool>>) {
        if let Err(error) = settled.await {
            tracing::error!(webhook = self.webhook.name, %error, "the ledger failed");
        }
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Attempts").field(&self.webhook).finish()
    }
}

/// A defect: the event is sent again when its claim ends.
fn crashed(error: &JoinError) -> Outcome {
    Outcome::Failed {
        error: error.to_string(),
        retry_after: None,
    }
}
