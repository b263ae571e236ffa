//! [`Pulse`]: tests that the accept loop still runs.

use std::future::pending;

use tokio::sync::{mpsc, oneshot};

/// Asks the accept loop for an answer.
pub(crate) struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// The side of the accept loop.
pub(crate) struct Beats(mpsc::Receiver<oneshot::Sender<()>>);

pub(crate) fn pulse() -> (Pulse, Beats) {
    let (asking, asked) = mpsc::channel(1);
    (Pulse(asking), Beats(asked))
}

impl Pulse {
    /// Waits for an answer of the loop. Returns `false` if the loop has ended.
    pub(crate) async fn beats(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.is_ok() && answered.await.is_ok()
    }
}

impl Beats {
    /// Waits for a question, and answers it.
    pub(super) async fn answer(&mut self) {
        match self.0.recv().await {
            Some(answer) => drop(answer.send(())),
            None => pending().await,
        }
    }
}
