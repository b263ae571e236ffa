//! Where a request comes from: [`PeerAddr`], whoever has connected, and [`ClientAddr`], whose requests are counted together.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::Extensions;

/// Request extension: the address that the connection comes from. Whoever accepts connections puts it there.
///
/// [`AccessRules`](crate::AccessRules) and [`LimitConcurrency`](crate::LimitConcurrency) go by it.
///
/// With axum, `ConnectInfo` has it:
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
/// Without it, the address of the [`PeerAddr`] counts. [`AccessRules`](crate::AccessRules) puts it there: the peer, or what
/// a trusted proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// The client of a request with these `extensions`, if they say who it is.
    pub(crate) fn of(extensions: &Extensions) -> Option<Self> {
        let peer = || extensions.get().map(|PeerAddr(peer)| Self(peer.ip()));
        extensions.get().copied().or_else(peer)
    }

    /// What is counted as one client: an address of version 4, or a /64 of version 6, which is the smallest network that
    /// is handed out.
    ///
    /// ```
    /// use kazoo_storage::ClientAddr;
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
