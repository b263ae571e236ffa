//! [`ClientAddr`]: the address by which concurrent requests are counted.

use std::net::{IpAddr, Ipv6Addr};

/// Request extension: the address of the client, by which [`LimitConcurrency`](crate::LimitConcurrency) counts
/// requests.
///
/// The code that accepts connections inserts it. [`AccessRules`](crate::AccessRules) replaces it with the address that
/// a trusted proxy forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddr(pub IpAddr);

impl ClientAddr {
    /// Returns the address that counts as one client: an IPv4 address, or an IPv6 /64, the smallest network that
    /// providers assign.
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
