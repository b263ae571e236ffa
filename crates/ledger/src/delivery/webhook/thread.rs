//! [`Thread`]: the thread that talks to one receiver.

use std::io;

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

/// A thread that talks to one receiver.
///
/// An endless response, such as a stream of informational heads, can occupy the thread that reads it for seconds: the client
/// yields only when no more data has arrived. On a thread of its own, it delays neither uploads nor other receivers.
pub(super) struct Thread(Option<Runtime>);

impl Thread {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            // For the lookup of names, of which there is one at a time.
            .max_blocking_threads(1)
            .thread_name("webhook")
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `task` on the thread. It is aborted when the result is dropped.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(runtime) = &self.0 {
            tasks.spawn_on(task, runtime.handle());
        }
        tasks
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for the thread would block the caller.
            runtime.shutdown_background();
        }
    }
}
