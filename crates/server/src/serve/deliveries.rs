//! The receivers of events in the file of `--deliveries`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use kazoo_storage_ledger::{
    Ledger,
    delivery::{self, Receivers},
};
use tokio::{
    sync::{Mutex, oneshot},
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use crate::{flag_file, log};

/// Time that receivers have to answer when the server stops. What they do not answer is sent again after the start.
const ANSWERS: Duration = Duration::from_secs(5);

/// Sends the events of a ledger to the receivers in a file.
pub(super) struct Deliveries {
    file: PathBuf,
    ledger: Ledger,
    state: Mutex<State>,
}

struct State {
    /// The present deliveries, and earlier ones that still wait for answers.
    runs: JoinSet<()>,
    /// Ends the present deliveries when it is dropped. `None` when the server stops.
    stop: Option<oneshot::Sender<()>>,
}

impl Deliveries {
    /// Registers `receivers`, which were read from `file`, and sends events to them.
    pub(super) async fn start(file: PathBuf, receivers: Receivers, ledger: Ledger) -> Result<Self, String> {
        let deliveries = register(&file, receivers, &ledger).await?;
        let mut runs = JoinSet::new();
        let stop = run(&mut runs, deliveries);
        let state = Mutex::new(State { runs, stop: Some(stop) });
        Ok(Self { file, ledger, state })
    }

    /// Reads the file again. If it is invalid, nothing changes.
    ///
    /// Events that are in flight are settled by the earlier deliveries.
    pub(super) async fn reload(&self) -> Result<(), String> {
        let file = self.file.clone();
        let read = spawn_blocking(move || read(&file)).await;
        let receivers = read.map_err(|error| error.to_string())??;
        let mut state = self.state.lock().await;
        let deliveries = register(&self.file, receivers, &self.ledger).await?;
        if state.stop.is_some() {
            state.stop = Some(run(&mut state.runs, deliveries));
        }
        while state.runs.try_join_next().is_some() {}
        Ok(())
    }

    /// Sends nothing more, and waits for the answers to what is in flight.
    pub(super) async fn end(&self) {
        let mut state = self.state.lock().await;
        state.stop = None;
        let ended = async { while state.runs.join_next().await.is_some() {} };
        if timeout(ANSWERS, ended).await.is_err() {
            tracing::warn!("receivers have not answered in time; their events are sent again after the next start");
        }
    }
}

/// Reads the receivers in `file`.
pub(super) fn read(file: &Path) -> Result<Receivers, String> {
    let text = flag_file::read_text("--deliveries", file)?;
    Receivers::from_json(&text).map_err(|error| named(file, &error))
}

async fn register(file: &Path, receivers: Receivers, ledger: &Ledger) -> Result<delivery::Deliveries, String> {
    let registered = ledger.register_receivers(receivers).await;
    registered.map_err(|error| named(file, &error))
}

fn named(file: &Path, error: &kazoo_storage::Error) -> String {
    format!("--deliveries {}: {}", file.display(), log::chain(error))
}

/// Runs `deliveries` until the result is dropped.
fn run(runs: &mut JoinSet<()>, deliveries: delivery::Deliveries) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel();
    runs.spawn(deliveries.run(async { drop(stopped.await) }));
    stop
}
