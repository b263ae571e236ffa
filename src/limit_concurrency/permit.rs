use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::progress::Progress;

/// A slower body, in bytes per 1000 seconds, yields its permit at the limit: 4 KiB/s, half of 64 kbit/s.
const SLOW: u64 = (4 << 10) * 1000;

/// The minimum time that a body was waited for before its rate is meaningful.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// The pause after a search that found no slow request.
const SEARCH_PAUSE: Duration = Duration::from_millis(100);

/// The requests in progress, and their limits.
pub(super) struct Room {
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

/// The place of one request; its end makes room for the next.
pub(super) struct Permit {
    room: Arc<Room>,
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

impl Room {
    pub(super) fn new(max: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            per_client,
            taken: Mutex::default(),
        })
    }

    /// The same overall limit with another limit per client; no permits are taken yet.
    pub(super) fn per_client(&self, per_client: usize) -> Arc<Self> {
        Self::new(self.max, per_client)
    }

    /// Returns a permit for a request of `client`. At the limit, the slowest upload yields its permit, if one is slow.
    pub(super) fn enter(self: &Arc<Self>, client: Option<IpAddr>, progress: Option<&Progress>) -> Result<Permit, Full> {
        let mut taken = self.lock();
        let held = |client| taken.clients.get(&client).map_or(0, |client| client.requests);
        if client.is_some_and(|client| held(client) >= self.per_client) && !taken.end_slowest(client) {
            return Err(Full::Client);
        }
        if taken.requests.len() >= self.max && !taken.end_slowest(None) {
            return Err(Full::All);
        }
        let id = taken.next;
        taken.next += 1;
        if let Some(client) = client {
            taken.clients.entry(client).or_default().requests += 1;
        }
        let progress = progress.cloned();
        taken.requests.insert(id, InProgress { client, progress });
        Ok(Permit {
            room: Arc::clone(self),
            id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Ends the slowest upload of `client`, or of all, and takes its permit. Returns `false` if none is slow.
    fn end_slowest(&mut self, client: Option<IpAddr>) -> bool {
        let now = Instant::now();
        let searched = match client {
            Some(client) => match self.clients.get_mut(&client) {
                Some(client) => &mut client.searched,
                None => return false,
            },
            None => &mut self.searched,
        };
        if searched.is_some_and(|at| now.duration_since(at) < SEARCH_PAUSE) {
            return false;
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
            return false;
        };
        if let Some(progress) = self.leave(id) {
            progress.end();
        }
        true
    }

    /// Removes a request, unless it was removed before.
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
        self.room.lock().leave(self.id);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.lock().requests.len(), self.max)
    }
}
