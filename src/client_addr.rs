//! The source of a request: [`PeerAddr`], the peer of the connection, and [`ClientAddr`], the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Extensions;

/// Request extension: the peer address of the connection. The code that accepts connections inserts it.
///
/// [`AccessRules`](crate::AccessRules) and [`LimitConcurrency`](crate::LimitConcurrency) use it.
///
/// In axum, `ConnectInfo` contains it. The router must be served with `into_make_service_with_connect_info`; otherwise
/// the extractor answers every request with 500.
///
/// ```
/// use std::net::SocketAddr;
///
/// use axum::{Router, extract::{ConnectInfo, Request}, middleware::map_request};
/// use kazoo_storage::{KazooStorage, MemoryStore, PeerAddr};
///
/// async fn insert_peer(ConnectInfo(peer): ConnectInfo<SocketAddr>, mut request: Request) -> Request {
///     request.extensions_mut().insert(PeerAddr(peer));
///     request
/// }
///
/// let storage = KazooStorage::new(MemoryStore::new()).max_per_client(16).into_service();
/// let app: Router = Router::new().nest_service("/some_prefix", storage).layer(map_request(insert_peer));
/// let _ = app.into_make_service_with_connect_info::<SocketAddr>();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Request extension: the address of the client, by which [`LimitConcurrency`](crate::LimitConcurrency) counts
/// requests.
///
/// [`AccessRules`](crate::AccessRules) inserts it: the peer, or the address that a trusted proxy forwards. Without it,
/// the address of the [`PeerAddr`] counts. [`Authorize`](crate::Authorize) also inserts it into the extensions of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// Returns the client of a request with these `extensions`, if they contain its address.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let peer = || extensions.get().map(|PeerAddr(peer)| Self(peer.ip()));
        extensions.get().copied().or_else(peer)
    }

    /// Returns the address that counts as one client: an IPv4 address, or an IPv6 /64, the smallest network that
    /// providers assign.
    ///
    /// ```
    /// use kazoo_storage::client_addr::ClientAddr;
    ///
    /// let client = |address: &str| ClientAddr(address.parse().unwrap()).network();
    /// assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
    /// assert_eq!(client("2001:db8::1"), client("2001:db8::2:3:4:5"));
    /// assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    /// ```
    #[must_use]
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
            address @ IpAddr::V4(_) => address,
        }
    }
}
