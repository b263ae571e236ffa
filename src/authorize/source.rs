use std::net::IpAddr;

use http::request::Parts;
use ipnet::{IpNet, Ipv4Net};

use super::forwarded::Forwarding;
use crate::{
    client_addr::PeerAddr,
    error::{BoxError, Error, ErrorKind, Result},
};

/// The networks of `texts`, such as `10.0.0.0/8` or `192.0.2.7`.
///
/// A network of IPv4-mapped IPv6 addresses is the network of those IPv4 addresses, because addresses are compared that
/// way.
pub(super) fn networks<I>(texts: I) -> Result<Vec<IpNet>>
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let parse = |text: &str| {
        // `010.0.0.1` is 8.0.0.1 to some, and so no address; `IpNet` alone would read it as 10.0.0.1.
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
                "`{text}` is no network: expected an address, or one with the length of its prefix, such as 10.0.0.0/8"
            );
            Error::new(ErrorKind::InvalidRequest, message).with_source(error)
        })
    };
    texts.into_iter().map(|text| parse(text.as_ref().trim())).collect()
}

/// `::ffff:10.0.0.0/104` as `10.0.0.0/8`.
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

pub(super) fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// The address of the client: of whoever has connected, or, if that is one of the `proxies`, of the last before it that
/// is none.
pub(super) fn client(request: &Parts, proxies: &[IpNet]) -> Result<IpAddr> {
    let Some(PeerAddr(peer)) = request.extensions.get() else {
        return Err(Error::new(
            ErrorKind::Internal,
            "the request has no PeerAddr among its extensions, by which its source could be told",
        ));
    };
    let peer = peer.ip().to_canonical();
    if !is_in(proxies, peer) {
        return Ok(peer);
    }
    let refused = |message: &'static str| Err(Error::new(ErrorKind::Forbidden, message));
    match Forwarding::of(&request.headers) {
        Forwarding::Absent => Ok(peer),
        Forwarding::Hops(hops) => {
            let nearest = hops.iter().rev().find(|hop| !is_in(proxies, **hop));
            Ok(nearest.or(hops.first()).copied().unwrap_or(peer))
        }
        Forwarding::Both => {
            refused("the request has both `forwarded` and `x-forwarded-for`; one of them may be made up")
        }
        Forwarding::Invalid => refused(
            "the proxy in between does not say which address the request comes from: its `forwarded` or `x-forwarded-for` is \
             not a list of addresses",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::Request;

    use super::*;

    fn client_of(peer: &str, headers: &[(&str, &str)]) -> Result<String> {
        let proxies = networks(["10.0.0.0/24", "2001:db8::/64"]).unwrap();
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
    fn only_a_trusted_proxy_is_believed() {
        let xff = "x-forwarded-for";
        for (peer, headers, expected) in [
            ("192.0.2.1", &[][..], "192.0.2.1"),
            ("192.0.2.1", &[(xff, "198.51.100.7")], "192.0.2.1"),
            ("192.0.2.1", &[(xff, ""), ("forwarded", "for=_hidden")], "192.0.2.1"),
            ("::ffff:192.0.2.1", &[], "192.0.2.1"),
            ("10.0.0.9", &[], "10.0.0.9"),
            ("10.0.0.9", &[(xff, "198.51.100.7")], "198.51.100.7"),
            // What the client made up stands further to the left.
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
            assert_eq!(networks([network]).unwrap(), networks([same]).unwrap(), "{network}");
        }
        assert!(is_in(
            &networks(["::ffff:10.0.0.1"]).unwrap(),
            IpAddr::from([10, 0, 0, 1])
        ));
    }

    #[test]
    fn a_network_is_an_address_or_a_prefix() {
        assert_eq!(networks(["10.0.0.0/8", "192.0.2.7", "::1"]).unwrap().len(), 3);
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
            assert!(networks([bad]).is_err(), "{bad}");
        }
    }
}
