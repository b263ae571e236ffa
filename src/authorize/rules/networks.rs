//! Networks, and the address that a request comes from.

use std::{net::IpAddr, sync::Arc};

use http::request::Parts;
use ipnet::{IpNet, Ipv4Net};

use super::forwarded::Forwarding;
use crate::{
    client_addr::PeerAddr,
    error::{BoxError, Error, ErrorKind, Result},
};

/// Parses networks, such as `10.0.0.0/8` or `192.0.2.7`.
///
/// A network of IPv4-mapped IPv6 addresses is the network of those IPv4 addresses, because addresses are compared that
/// way.
pub(super) fn parse<I>(texts: I) -> Result<Vec<IpNet>>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let parse = |text: &str| {
        // Some programs read `010.0.0.1` as 8.0.0.1, so it is invalid. `IpNet` alone would parse it as 10.0.0.1.
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, _)| (address, Some(text)));
        let address = address.parse::<IpAddr>().map_err(BoxError::from);
        let network = address.and_then(|address| match prefix {
            Some(text) => Ok(canonical(text.parse()?)),
            None => Ok(IpNet::from(address.to_canonical())),
        });
        network.map_err(|error| {
            let message = format!(
                "`{text}` is not a network; use an address such as 192.0.2.7, or an address with a prefix length such as 10.0.0.0/8"
            );
            Error::new(ErrorKind::InvalidRequest, message).with_source(error)
        })
    };
    texts.into_iter().map(|text| parse(text.as_ref().trim())).collect()
}

/// Converts a network of IPv4-mapped addresses, such as `::ffff:10.0.0.0/104`, to IPv4: `10.0.0.0/8`.
fn canonical(network: IpNet) -> IpNet {
    let IpAddr::V4(address) = network.addr().to_canonical() else {
        return network;
    };
    let prefix = match network {
        IpNet::V4(_) => Some(network.prefix_len()),
        IpNet::V6(_) => network.prefix_len().checked_sub(96),
    };
    let canonical = prefix.and_then(|prefix| Ipv4Net::new(address, prefix).ok());
    canonical.map_or(network, IpNet::from)
}

/// A network, and the name of its clients.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) range: IpNet,
    pub(super) name: Option<Arc<str>>,
}

pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Returns the address of the client: the peer or, if that is one of the `proxies`, the last forwarded address that is
/// not one of them.
pub(super) fn client(request: &Parts, proxies: &[IpNet]) -> Result<IpAddr> {
    let Some(PeerAddr(peer)) = request.extensions.get() else {
        return Err(Error::new(
            ErrorKind::Internal,
            "the request has no `PeerAddr` extension, so its source address is unknown; the application has to insert it",
        ));
    };
    let peer = peer.ip().to_canonical();
    if !contains(proxies, peer) {
        return Ok(peer);
    }
    let rejected = |message: &'static str| Err(Error::new(ErrorKind::Forbidden, message));
    match Forwarding::of(&request.headers) {
        Forwarding::Absent => Ok(peer),
        Forwarding::Hops(hops) => {
            let nearest = hops.iter().rev().find(|hop| !contains(proxies, **hop));
            Ok(nearest.or(hops.first()).copied().unwrap_or(peer))
        }
        Forwarding::Both => rejected(
            "the request has both `forwarded` and `x-forwarded-for`, and the client may have sent one of them; the proxy has to remove one",
        ),
        Forwarding::Invalid => rejected(
            "the `forwarded` or `x-forwarded-for` header of the request is not a list of addresses, so its source address is \
             unknown; check the configuration of the proxy",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;

    fn client_of(peer: &str, headers: &[(&str, &str)]) -> Result<String> {
        let proxies = parse(["10.0.0.0/24", "2001:db8::/64"]).unwrap();
        let mut request = Request::get("/").body(()).unwrap();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let peer = SocketAddr::new(peer.parse().unwrap(), 4711);
        request.extensions_mut().insert(PeerAddr(peer));
        client(&request.into_parts().0, &proxies).map(|address| address.to_string())
    }

    #[test]
    fn trusts_forwarded_addresses_of_trusted_proxies_only() {
        let xff = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &[(xff, "198.51.100.7")], "192.0.2.1"),
            ("192.0.2.1", &[(xff, ""), ("forwarded", "for=_hidden")], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("10.0.0.9", &[], "10.0.0.9"),
            ("10.0.0.9", &[(xff, "198.51.100.7")], "198.51.100.7"),
            // Addresses that the client invented are further to the left.
            ("10.0.0.9", &[(xff, "127.0.0.1, 198.51.100.7")], "198.51.100.7"),
            (
                "10.0.0.9",
                &[(xff, "127.0.0.1"), (xff, "198.51.100.7:80, 10.0.0.8")],
                "198.51.100.7",
            ),
            (
                "10.0.0.9",
                &[("forwarded", "for=\"[2001:db8:1::7]:4711\";proto=http")],
                "2001:db8:1::7",
            ),
            (
                "2001:db8::9",
                &[("forwarded", "for=127.0.0.1, FOR=198.51.100.7")],
                "198.51.100.7",
            ),
        ] {
            assert_eq!(client_of(peer, headers).unwrap(), expected, "{peer} {headers:?}");
        }
        for bad in [
            &[(xff, "unknown")][..],
            &[(xff, "198.51.100.7"), ("forwarded", "for=198.51.100.7")],
            &[("forwarded", "for=_hidden")],
            &[("forwarded", "proto=http")],
            &[(xff, "")],
            &[(xff, ""), ("forwarded", "for=198.51.100.7")],
        ] {
            let error = client_of("10.0.0.9", bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{bad:?}");
        }
    }

    #[test]
    fn compares_a_mapped_network_as_ipv4() {
        for (network, same) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::/0", "::/0"),
            ("::ffff:0:0/90", "::ffff:0:0/90"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(parse([network]).unwrap(), parse([same]).unwrap(), "{network}");
        }
        assert!(contains(
            &parse(["::ffff:10.0.0.1"]).unwrap(),
            IpAddr::from([10, 0, 0, 1])
        ));
    }

    #[test]
    fn parses_addresses_and_prefixes() {
        assert_eq!(parse(["10.0.0.0/8", "192.0.2.7", "::1"]).unwrap().len(), 3);
        for bad in [
            "",
            "10.0.0.0/33",
            "host",
            "10.0.0",
            "010.0.0.1",
            "010.0.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/8/8",
        ] {
            assert!(parse([bad]).is_err(), "{bad}");
        }
    }
}
