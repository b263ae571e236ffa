//! [`Deliveries`]: sends the events of a ledger to its receivers.

use kazoo_storage::Result;
use tokio::{sync::watch, task::JoinSet};

use super::{receivers::Receivers, worker::Worker};
use crate::{gone_receivers::GoneReceivers, ledger::Ledger};

/// Sends the events of a ledger to its receivers, while it [runs](Self::run).
#[derive(Debug)]
#[must_use = "nothing is sent until `run`"]
pub struct Deliveries {
    workers: Vec<Worker>,
}

impl Ledger {
    /// Registers `receivers` for every event that is recorded from now on, and returns the [`Deliveries`] that send them. They replace those of earlier calls, also of other
    /// processes: servers that share a ledger must pass the same receivers.
    ///
    /// The [name](super::Receiver::named) identifies a receiver. The events of a receiver that is replaced stay in the ledger:
    /// this logs their number, and they are sent when a receiver of that name is registered again.
    /// [Consumers](Ledger::consumer) are not affected.
    ///
    /// To change the receivers while events are recorded, call this again, end the earlier [`Deliveries`], and run the new
    /// ones: no event is lost.
    pub async fn register_receivers(&self, receivers: Receivers) -> Result<Deliveries> {
        let gone = GoneReceivers::default();
        let workers: Vec<Worker> = receivers
            .into_iter()
            .map(|receiver| Worker::new(self.clone(), receiver, gone.clone()))
            .collect::<Result<_>>()?;
        let names: Vec<&str> = workers.iter().map(Worker::receiver).collect();
        let abandoned = self.set_receivers(&names).await?;
        self.set_gone(gone);
        for abandoned in abandoned {
            tracing::warn!(
                receiver = abandoned.name,
                events = abandoned.events,
                "a receiver is no longer configured, and has undelivered events; they stay until it is configured again"
            );
        }
        Ok(Deliveries { workers })
    }
}

impl Deliveries {
    /// Sends events until `shutdown` completes, then waits for the answers to those that are in flight, each up to its
    /// timeout. After [`Ledger::close`] it sends no more events, but still returns only after `shutdown`.
    ///
    /// If the future is dropped, what was in flight is sent again by the next run, after twice the receiver's timeout plus 10
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
                tracing::error!(%error, "the deliveries to a receiver have failed");
            }
        }
    }
}
