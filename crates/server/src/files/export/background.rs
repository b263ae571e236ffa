//! [`Background`]: work on a blocking thread that the export does not wait for.

use tokio::task::{JoinHandle, spawn_blocking};

/// Runs one piece of work at a time.
#[derive(Default)]
pub(super) struct Background {
    running: Option<JoinHandle<Result<(), String>>>,
}

impl Background {
    /// Waits for the work that was started before, and starts `work`.
    pub(super) async fn start(
        &mut self,
        work: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        self.end().await?;
        self.running = Some(spawn_blocking(work));
        Ok(())
    }

    /// Waits for the work that was started. Each failure is returned once.
    pub(super) async fn end(&mut self) -> Result<(), String> {
        let Some(running) = &mut self.running else {
            return Ok(());
        };
        let done = running.await;
        self.running = None;
        done.map_err(|error| error.to_string()).flatten()
    }
}
