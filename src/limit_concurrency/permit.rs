use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::progress::Progress;

/// The rate below which a body yields its permit at the limit, in bytes per 1000 seconds: 4 KiB/s, half of 64 kbit/s.
const SLOW: u64 = (4 << 10) * 1000;

/// The minimum time spent waiting for a body before its rate is meaningful.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// The pause after a search that found no slow request.
const SEARCH_PAUSE: Duration = Duration::from_millis(100);

/// The requests in progress, and their limits.
///
/// A `tokio::sync::Semaphore` would count them, but the slowest upload has to be found and lose its permit, so the
/// requests are listed anyway. A separate count would duplicate the length of the list.
pub(super) struct Requests {
    max: usize,
    per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    next: u64,
    requests: HashMap<u64, InProgress>,
    clients: HashMap<IpAddr, Client>,
    /// The time of the last search of all requests that found no slow one.
    searched: Option<Instant>,
}

struct InProgress {
    client: Option<IpAddr>,
    progress: Option<Progress>,
}

#[derive(Default)]
struct Client {
    requests: usize,
    /// The time of the last search of its requests that found no slow one.
    searched: Option<Instant>,
}

/// Counts one request as in progress until it is dropped.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Requests>,
    id: u64,
}

/// The reason why a request gets no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// The overall limit is reached.
    All,
    /// The limit of its client is reached.
    Client,
}

impl Requests {
    pub(super) fn new(max: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            per_client,
            taken: Mutex::default(),
        })
    }

    /// Returns the same overall limit with this limit per client. No permits are taken yet.
    pub(super) fn per_client(&self, per_client: usize) -> Arc<Self> {
        Self::new(self.max, per_client)
    }

    /// Returns a permit for a request of `client`. At the limit, the slowest upload yields its permit, if one is slow.
    pub(super) fn enter(self: &Arc<Self>, client: Option<IpAddr>, progress: Option<&Progress>) -> Result<Permit, Full> {
        let mut slow = Vec::new();
        let entered = self.lock().enter(self, client, progress, &mut slow);
        // Ends them without the lock, because a waker may drop another permit.
        for progress in slow {
            progress.end();
        }
        Ok(Permit {
            limits: Arc::clone(self),
            id: entered?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes a permit and returns its id. Adds the uploads that lose theirs to `slow`; the caller ends them.
    fn enter(
        &mut self,
        limits: &Requests,
        client: Option<IpAddr>,
        progress: Option<&Progress>,
        slow: &mut Vec<Progress>,
    ) -> Result<u64, Full> {
        let held = |client| self.clients.get(&client).map_or(0, |client| client.requests);
        if client.is_some_and(|client| held(client) >= limits.per_client) {
            slow.push(self.take_slowest(client).ok_or(Full::Client)?);
        }
        if self.requests.len() >= limits.max {
            slow.push(self.take_slowest(None).ok_or(Full::All)?);
        }
        let id = self.next;
        self.next += 1;
        if let Some(client) = client {
            self.clients.entry(client).or_default().requests += 1;
        }
        let progress = progress.cloned();
        self.requests.insert(id, InProgress { client, progress });
        Ok(id)
    }

    /// Takes the permit of the slowest upload of `client`, or of all; none if no upload is slow.
    fn take_slowest(&mut self, client: Option<IpAddr>) -> Option<Progress> {
        let now = Instant::now();
        let searched = match client {
            Some(client) => match self.clients.get_mut(&client) {
                Some(client) => &mut client.searched,
                None => return None,
            },
            None => &mut self.searched,
        };
        if searched.is_some_and(|at| now.duration_since(at) < SEARCH_PAUSE) {
            return None;
        }
        let slowest = self
            .requests
            .iter()
            .filter(|(_, request)| client.is_none() || request.client == client)
            .filter_map(|(id, request)| Some((request.progress.as_ref()?.rate(SLOW_AFTER)?, *id)))
            .filter(|(rate, _)| *rate < SLOW)
            .min();
        let Some((_, id)) = slowest else {
            *searched = Some(now);
            return None;
        };
        self.leave(id)
    }

    /// Removes a request, if it is still listed. Its [`Progress`] must not be dropped under the lock: the waker in it
    /// may own another permit.
    fn leave(&mut self, id: u64) -> Option<Progress> {
        let InProgress { client, progress } = self.requests.remove(&id)?;
        if let Some(address) = client
            && let Some(client) = self.clients.get_mut(&address)
        {
            client.requests -= 1;
            if client.requests == 0 {
                self.clients.remove(&address);
            }
        }
        progress
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let progress = self.limits.lock().leave(self.id);
        drop(progress);
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.lock().requests.len(), self.max)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::mpsc,
        task::{Context, Wake, Waker},
        thread,
    };

    use super::*;

    /// A task that owns a permit and is kept alive by its waker alone.
    struct Task(#[expect(dead_code, reason = "is dropped")] Permit);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    fn waits(progress: &Progress, permit: Permit) {
        let waker = Waker::from(Arc::new(Task(permit)));
        progress.wait(&Context::from_waker(&waker));
    }

    /// Runs `act` on another thread, so that a deadlock fails the test.
    fn assert_ends(act: impl AsyncFnOnce() + Send + 'static) {
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build().unwrap();
            runtime.block_on(act());
            ended.send(()).unwrap();
        });
        assert_eq!(end.recv_timeout(Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn a_waker_may_drop_a_permit() {
        assert_ends(async || {
            let requests = Requests::new(2, usize::MAX);
            let progress = Progress::default();
            let other = requests.enter(None, None).ok().unwrap();
            let _slow = requests.enter(None, Some(&progress)).ok().unwrap();
            waits(&progress, other);
            tokio::time::advance(SLOW_AFTER).await;
            let _entered = requests.enter(None, None).ok().unwrap();
            assert_eq!(requests.lock().requests.len(), 1);
        });
    }

    #[test]
    fn dropping_a_permit_may_drop_another_one() {
        assert_ends(async || {
            let requests = Requests::new(2, usize::MAX);
            let progress = Progress::default();
            let other = requests.enter(None, None).ok().unwrap();
            let permit = requests.enter(None, Some(&progress)).ok().unwrap();
            waits(&progress, other);
            drop(progress);
            drop(permit);
            assert!(requests.lock().requests.is_empty());
        });
    }
}
