//! The source of a request: [`PeerAddr`], the peer of the connection, and [`ClientAddr`], the client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Extensions;

/// Request extension: the peer address of the connection. The code that accepts connections inserts it.
///
/// [`AccessRules`](crate::AccessRules) and [`LimitConcurrency`](crate::LimitConcurrency) use it.
///
/// In axum, `ConnectInfo` contains it:
///
/// ```
/// use axum::extract::ConnectInfo;
/// use http::Request;
/// use kazoo_storage::PeerAddr;
/// use std::net::SocketAddr;
///
/// fn with_peer<B>(mut request: Request<B>) -> Request<B> {
///     if let Some(&ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
///         request.extensions_mut().insert(PeerAddr(peer));
///     }
///     request
/// }
/// # let _ = with_peer::<()>;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddr(pub SocketAddr);

/// Request extension: the address of the client, by which [`LimitConcurrency`](crate::LimitConcurrency) counts
/// requests.
///
/// [`AccessRules`](crate::AccessRules) inserts it: the peer, or the address that a trusted proxy forwards. Without it,
/// the address of the [`PeerAddr`] counts.
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
