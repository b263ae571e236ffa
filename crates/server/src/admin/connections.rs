//! [`Connections`]: the open connections, and what each of them may use.

use std::{
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};

use super::listener::Local;

/// The maximum number of connections without a call of the API. Another one closes the oldest that has not sent a request,
/// or else the oldest.
const CONNECTIONS: usize = 64;

/// The maximum number of calls of the API. They do not count as connections above: no probe waits for them, or ends them.
const CALLS: usize = 16;

/// Maximum number of files in a response of an export, all of which are open. The store may hold a small content of each in memory.
pub(super) const MAX_CONTENTS: usize = 32;

/// Maximum number of file descriptors of the admin endpoint: a call has a connection and the files that it sends.
pub(crate) const DESCRIPTORS: u64 = (CONNECTIONS + CALLS * (1 + MAX_CONTENTS)) as u64;

/// Time limit for a connection without progress: one without a call has a single request, and each call is progress.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The open connections, oldest first.
pub(super) struct Connections {
    open: Vec<Connection>,
    calls: Arc<Semaphore>,
}

struct Connection {
    task: AbortHandle,
    state: Arc<State>,
}

/// The state of a connection.
#[derive(Default)]
pub(super) struct State {
    /// The request has arrived.
    asked: AtomicBool,
    /// The request is a call of the API by the operator.
    is_call: AtomicBool,
    /// The client has read something of a long response since the last look.
    progressed: AtomicBool,
}

/// The request of a connection, and the resources that it has until the connection ends.
pub(super) struct Call {
    pub(super) local: Local,
    /// The address of the client, unless it is on a Unix socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) state: Arc<State>,
    calls: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self {
            open: Vec::new(),
            calls: Arc::new(Semaphore::new(CALLS)),
        }
    }

    /// Runs a new connection in a task of its own.
    pub(super) fn add<F>(&mut self, local: Local, peer: Option<IpAddr>, serve: impl FnOnce(Arc<Call>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.make_room();
        let state = Arc::<State>::default();
        let call = Arc::new(Call {
            local,
            peer,
            state: Arc::clone(&state),
            calls: Arc::clone(&self.calls),
            permit: Mutex::default(),
        });
        let served = serve(Arc::clone(&call));
        let task = tokio::spawn(async move { call.state.limit(served).await }).abort_handle();
        self.open.push(Connection { task, state });
    }

    /// Frees a slot for a new connection. A probe must not wait for idle connections.
    fn make_room(&mut self) {
        self.open.retain(|connection| !connection.task.is_finished());
        let countable = |connection: &&Connection| !connection.state.is_call.load(Ordering::Relaxed);
        if self.open.iter().filter(countable).count() < CONNECTIONS {
            return;
        }
        let idle = |connection: &Connection| !connection.state.asked.load(Ordering::Relaxed);
        let at = self.open.iter().position(idle);
        let at = at.or_else(|| self.open.iter().position(|connection| countable(&connection)));
        self.open.remove(at.unwrap_or_default()).task.abort();
    }
}

impl State {
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn progressed(&self) {
        self.progressed.store(true, Ordering::Relaxed);
    }

    /// Ends `served` at the time limit, unless it makes progress.
    async fn limit(&self, served: impl Future<Output = ()>) {
        let mut served = pin!(served);
        while timeout(TIMEOUT, &mut served).await.is_err() {
            if !self.progressed.swap(false, Ordering::Relaxed) {
                return;
            }
        }
    }
}

impl Call {
    /// Takes one of the slots for calls, until the connection ends. Returns `false` if all are taken.
    pub(super) fn admit(&self) -> bool {
        self.state.progressed();
        if self.is_admitted() {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            return false;
        };
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
        self.state.is_call.store(true, Ordering::Relaxed);
        true
    }

    /// Returns `true` if the connection has one of the slots.
    pub(super) fn is_admitted(&self) -> bool {
        self.state.is_call.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn probes_end_no_calls_and_calls_leave_room_for_probes() {
        let mut connections = Connections::new();
        let mut calls = Vec::new();
        for _ in 0..CALLS + 4 {
            connections.add(Local::Unix, None, |call| {
                call.state.asked();
                // The second call of a connection has the slot of the first.
                calls.push(call.admit() && call.admit());
                pending::<()>()
            });
        }
        assert_eq!(calls.iter().filter(|admitted| **admitted).count(), CALLS);
        for _ in 0..3 * CONNECTIONS {
            connections.add(Local::Unix, None, |_| pending());
            tokio::task::yield_now().await;
        }
        let is_call = |connection: &&Connection| connection.state.is_call.load(Ordering::Relaxed);
        assert_eq!(connections.open.iter().filter(is_call).count(), CALLS);
        assert_eq!(connections.open.len(), CALLS + CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn only_progress_extends_the_time() {
        let state = State::default();
        state.limit(pending()).await;
        let work = async {
            for _ in 0..10 {
                sleep(TIMEOUT / 2).await;
                state.progressed();
            }
        };
        state.limit(work).await;
        assert!(timeout(TIMEOUT * 3, state.limit(pending())).await.is_ok());
    }
}
