//! Limits the number of connections, in total and of each address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{Request, Response};
use kazoo_storage::{Body, Error, ErrorKind, client_addr::ClientAddr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{closing, metrics};
use crate::config::ConnectionLimits;

/// Maximum number of connections over a limit that stay open, so that their clients can be asked to retry.
const TURNED_AWAY: usize = 1024;

/// Delay before a client retries. Most connections are short.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// File descriptors for all else than connections and the admin endpoint: the directories of the store, among them those of 64 files that
/// are being deleted, its journal, the runtime.
const DESCRIPTORS: u64 = 128;

/// Hands out permits for connections. Clones share the permits.
#[derive(Clone)]
pub(crate) struct Admission {
    per_address: usize,
    total: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    open: Addresses,
}

/// The number of open connections of each address.
type Addresses = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// The permit of an open connection.
pub(crate) struct ConnectionPermit {
    /// `None` if the connection is over a limit.
    share: Option<Share>,
    _total: OwnedSemaphorePermit,
    _counted: metrics::OpenConnection,
}

/// One connection out of the limit of its address.
struct Share {
    open: Addresses,
    address: IpAddr,
}

/// Extension of a request that arrived on a connection over a limit.
#[derive(Clone, Copy)]
pub(crate) struct TurnedAway;

impl Admission {
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        Self {
            per_address: limits.per_address,
            total: Arc::new(Semaphore::new(limits.total.min(Semaphore::MAX_PERMITS))),
            refusals: Arc::new(Semaphore::new(TURNED_AWAY)),
            open: Addresses::default(),
        }
    }

    /// Returns the permit of a connection from `peer`, which may be one to refuse its request; returns `None` if too many
    /// are being refused.
    pub(crate) fn acquire(&self, peer: SocketAddr) -> Option<ConnectionPermit> {
        let share = self.share(ClientAddr(peer.ip()).network());
        let admitted = share.and_then(|share| Some((share, Arc::clone(&self.total).try_acquire_owned().ok()?)));
        let (share, total) = match admitted {
            Some((share, permit)) => (Some(share), permit),
            None => (None, Arc::clone(&self.refusals).try_acquire_owned().ok()?),
        };
        Some(ConnectionPermit {
            share,
            _total: total,
            _counted: metrics::OpenConnection::new(),
        })
    }

    /// Returns the number of open connections within the limits.
    pub(crate) fn open(&self) -> usize {
        lock(&self.open).values().sum()
    }

    fn share(&self, address: IpAddr) -> Option<Share> {
        let mut open = lock(&self.open);
        let of_address = open.get(&address).copied().unwrap_or_default();
        if of_address >= self.per_address {
            return None;
        }
        open.insert(address, of_address + 1);
        Some(Share {
            open: Arc::clone(&self.open),
            address,
        })
    }
}

impl ConnectionPermit {
    /// Returns `true` if the connection is over a limit, and its requests are refused.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.share.is_none()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(of_address) = open.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the refusal of `request` if it arrived on a connection over a limit: 503, and the connection closes.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    request.extensions().get::<TurnedAway>()?;
    metrics::turned_away();
    let message = "the storage server is at its limit of connections, in total or from this address; send it again";
    let error = Error::new(ErrorKind::Unavailable, message).with_retry_after(Some(RETRY_AFTER));
    Some(closing(error.to_response()))
}

/// Raises the limit of open files to the maximum of the system, and logs a warning if the connections, and the admin endpoint with its
/// number of file descriptors `admin`, may need more.
pub(crate) fn raise_descriptors(limits: &ConnectionLimits, admin: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "cannot raise the limit of open files");
            limit = getrlimit(Resource::Nofile);
        }
    }
    // A connection, and the file that it reads or writes.
    let connections = (limits.total as u64).saturating_add(TURNED_AWAY as u64);
    let needed = connections.saturating_mul(2).saturating_add(DESCRIPTORS + admin);
    if let Some(allowed) = limit.current.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "the limit of open files is too low for --max-connections; raise it (LimitNOFILE of systemd, ulimit -n), or lower \
             --max-connections"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_address: usize, total: usize) -> Admission {
        Admission::new(&ConnectionLimits { per_address, total })
    }

    fn peer(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 4711)
    }

    #[test]
    fn limits_each_address_and_the_total() {
        let admission = admission(2, 3);
        let over = |address: &str| {
            let permit = admission.acquire(peer(address)).unwrap();
            (permit.is_over_limit(), permit)
        };
        let first = over("10.0.0.1");
        let second = over("::ffff:10.0.0.1");
        assert!(!first.0 && !second.0);
        assert!(over("10.0.0.1").0, "its third");
        let other = over("2001:db8::1");
        assert!(!other.0);
        assert!(over("10.0.0.2").0, "the fourth of all");
        drop(first);
        let neighbour = over("2001:db8::2:3:4:5");
        assert!(!neighbour.0);
        drop(second);
        assert!(over("2001:db8::6").0, "the third of one network");
        drop((other, neighbour));
        let free = (
            admission.total.available_permits(),
            admission.refusals.available_permits(),
        );
        assert_eq!((free, lock(&admission.open).len()), ((3, TURNED_AWAY), 0));
    }

    #[test]
    fn limits_the_connections_over_a_limit() {
        let admission = admission(0, 0);
        let turned_away: Vec<_> = (0..TURNED_AWAY)
            .map(|_| admission.acquire(peer("::1")).unwrap())
            .collect();
        assert!(admission.acquire(peer("::1")).is_none());
        drop(turned_away);
        assert!(admission.acquire(peer("::1")).is_some());
    }
}
