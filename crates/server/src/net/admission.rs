//! How many connections there may be, and to whom.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Request, Response, header};
use kazoo_storage::{Body, Error, ErrorKind, client_addr::ClientAddr};

use super::metrics;
use crate::config::ConnectionLimits;

/// How many connections over a limit are held open at once, to tell their clients to come again.
const TURNED_AWAY: usize = 1024;

/// Most connections are short.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// File descriptors beside those of connections: the store's directories, its journal, the runtime.
const DESCRIPTORS: u64 = 64;

/// Counts the open connections. A clone counts with the one it is of.
#[derive(Clone)]
pub(crate) struct Admission {
    per_address: usize,
    total: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    admitted: usize,
    turned_away: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection; its end makes room for another.
pub(crate) struct Place {
    open: Arc<Mutex<Open>>,
    /// None if it is over a limit.
    address: Option<IpAddr>,
}

/// A request came on a connection over a limit: among its extensions.
#[derive(Clone, Copy)]
pub(crate) struct TurnedAway;

impl Admission {
    pub(crate) fn new(options: &ConnectionLimits) -> Self {
        Self {
            per_address: options.per_address,
            total: options.total,
            open: Arc::default(),
        }
    }

    /// A place for a connection of `peer`; none if there are so many over a limit that it is closed unheard.
    pub(crate) fn enter(&self, peer: SocketAddr) -> Option<Place> {
        let address = ClientAddr(peer.ip()).network();
        let mut open = lock(&self.open);
        let of_address = open.by_address.get(&address).copied().unwrap_or_default();
        let address = if open.admitted < self.total && of_address < self.per_address {
            open.admitted += 1;
            open.by_address.insert(address, of_address + 1);
            Some(address)
        } else if open.turned_away < TURNED_AWAY {
            open.turned_away += 1;
            None
        } else {
            return None;
        };
        drop(open);
        metrics::connected();
        Some(Place {
            open: Arc::clone(&self.open),
            address,
        })
    }
}

impl Place {
    pub(crate) fn is_over_the_limit(&self) -> bool {
        self.address.is_none()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        metrics::disconnected();
        let mut open = lock(&self.open);
        let Some(address) = self.address else {
            open.turned_away -= 1;
            return;
        };
        open.admitted -= 1;
        if let Some(of_address) = open.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the refusal of `request` if it arrived on a connection over a limit: 503, and the connection closes.
pub(crate) fn refusal<B>(request: &Request<B>) -> Option<Response<Body>> {
    request.extensions().get::<TurnedAway>()?;
    metrics::turned_away();
    let message = "the storage server is at its limit of connections, in total or from this address; nothing was stored, \
                   send it again";
    let error = Error::new(ErrorKind::Unavailable, message).with_retry_after(Some(RETRY_AFTER));
    let mut response = error.into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    Some(response)
}

/// Lets the process open as many files as the system allows, and says so if that is less than its connections need.
pub(crate) fn raise_descriptors(options: &ConnectionLimits) {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "cannot raise the limit of open files");
            limit = getrlimit(Resource::Nofile);
        }
    }
    // A connection, and the file that is read or written on it.
    let needed = (options.total as u64 + TURNED_AWAY as u64) * 2 + DESCRIPTORS;
    if let Some(allowed) = limit.current.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "the process may open fewer files than its connections can need; raise its limit (LimitNOFILE of systemd, \
             ulimit -n), or lower --max-connections"
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
    fn each_address_has_its_share_and_all_have_theirs() {
        let admission = admission(2, 3);
        let over = |address: &str| {
            let place = admission.enter(peer(address)).unwrap();
            (place.is_over_the_limit(), place)
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
        let open = lock(&admission.open);
        assert_eq!((open.admitted, open.turned_away, open.by_address.len()), (0, 0, 0));
    }

    #[test]
    fn those_over_the_limit_are_bounded_too() {
        let admission = admission(0, 0);
        let turned_away: Vec<_> = (0..TURNED_AWAY)
            .map(|_| admission.enter(peer("::1")).unwrap())
            .collect();
        assert!(admission.enter(peer("::1")).is_none());
        drop(turned_away);
        assert!(admission.enter(peer("::1")).is_some());
    }
}
