//! [`Workers`]: the threads that serve connections.

use std::{
    io,
    num::NonZero,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::JoinSet,
};

/// Minimum number of threads of each worker that wait for the disk.
const MIN_BLOCKING_THREADS: usize = 16;

/// Threads with a runtime of their own, one for each core.
///
/// A connection stays on its worker. In a runtime of several threads, most tasks that become ready wake another thread:
/// without that, fetches of 64 KiB and uploads without syncs are 13 % faster.
pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Each task has a clone.
    load: Arc<()>,
    stop: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

impl Workers {
    /// Starts a worker for each core. Together they have about `blocking_threads` threads that wait for the disk.
    pub(crate) fn start(blocking_threads: usize) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let blocking_threads = (blocking_threads / cores).max(MIN_BLOCKING_THREADS);
        let workers = (0..cores).map(|_| Worker::start(blocking_threads));
        workers.collect::<io::Result<_>>().map(Self)
    }

    /// Runs `task` on the worker with the fewest tasks, as one of `tasks`.
    pub(crate) fn spawn<T>(&self, tasks: &mut JoinSet<()>, task: T)
    where
        T: Future<Output = ()> + Send + 'static,
    {
        if let Some(worker) = self.0.iter().min_by_key(|worker| Arc::strong_count(&worker.load)) {
            let counted = Arc::clone(&worker.load);
            tasks.spawn_on(task.map(move |()| drop(counted)), &worker.runtime);
        }
    }

    /// Drops all tasks, and waits for pending disk operations, at most for `timeout`.
    pub(crate) fn shut_down(self, timeout: Duration) {
        let threads = self.0.into_iter().map(|worker| {
            let _ = worker.stop.send(timeout);
            worker.thread
        });
        // All stop before the first is awaited.
        for thread in threads.collect::<Vec<_>>() {
            let _ = thread.join();
        }
    }
}

impl Worker {
    fn start(blocking_threads: usize) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .max_blocking_threads(blocking_threads)
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("connections".to_owned()).spawn(move || {
            // An error means that the process ends at once.
            match runtime.block_on(stopped) {
                Ok(timeout) => runtime.shutdown_timeout(timeout),
                Err(_) => runtime.shutdown_background(),
            }
        })?;
        Ok(Self {
            runtime: handle,
            load: Arc::default(),
            stop,
            thread,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread::ThreadId};

    use super::*;

    fn workers(count: usize) -> Workers {
        Workers((0..count).map(|_| Worker::start(1).unwrap()).collect())
    }

    /// Starts a task that ends when the returned sender is dropped, and returns its thread too.
    async fn start(workers: &Workers, tasks: &mut JoinSet<()>) -> (oneshot::Sender<()>, ThreadId) {
        let (end, ended) = oneshot::channel();
        let (here, thread) = oneshot::channel();
        workers.spawn(tasks, async move {
            let _ = here.send(thread::current().id());
            let _ = ended.await;
        });
        (end, thread.await.unwrap())
    }

    #[tokio::test]
    async fn a_task_runs_on_the_worker_with_the_fewest() {
        let workers = workers(2);
        let mut tasks = JoinSet::new();
        let (end, first) = start(&workers, &mut tasks).await;
        let (_second, second) = start(&workers, &mut tasks).await;
        assert_ne!(first, second);

        drop(end);
        tasks.join_next().await.unwrap().unwrap();
        let (_third, third) = start(&workers, &mut tasks).await;
        assert_eq!(third, first);
    }

    #[tokio::test]
    async fn waits_for_pending_disk_operations() {
        let workers = workers(1);
        let (started, is_started) = oneshot::channel();
        let (end, ended) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        let mut tasks = JoinSet::new();
        workers.spawn(&mut tasks, async move {
            tokio::task::spawn_blocking(move || {
                let _ = started.send(());
                let _ = ended.recv();
                let _ = done.send(());
            });
        });
        is_started.await.unwrap();
        drop(end);
        workers.shut_down(Duration::from_secs(60));
        is_done.try_recv().unwrap();
    }
}
