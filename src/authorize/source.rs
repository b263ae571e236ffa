use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header, request::Parts};
use ipnet::IpNet;

use crate::error::{BoxError, Error, ErrorKind, Result};

/// Request extension: the address that the connection comes from. Whoever accepts connections puts it there.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);

/// The networks of `texts`, such as `10.0.0.0/8` or `192.0.2.7`.
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
            Some(text) => Ok(text.parse()?),
            None => Ok(IpNet::from(address)),
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
    let mut client = peer;
    for hop in hops(&request.headers)?.into_iter().rev() {
        client = hop;
        if !is_in(proxies, hop) {
            break;
        }
    }
    Ok(client)
}

/// The addresses that proxies have added, in order.
fn hops(headers: &HeaderMap) -> Result<Vec<IpAddr>> {
    let refused = |message: &'static str| Error::new(ErrorKind::Forbidden, message);
    let text = |name: &str| {
        let values: Option<Vec<&str>> = headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        values.map(|values| values.join(",")).filter(|text| !text.is_empty())
    };
    let elements = match (text(header::FORWARDED.as_str()), text("x-forwarded-for")) {
        // A proxy that adds one leaves the client's own other as it is.
        (Some(_), Some(_)) => {
            return Err(refused(
                "the request has both `forwarded` and `x-forwarded-for`; one of them may be made up",
            ));
        }
        (Some(forwarded), None) => forwarded.split(',').map(forwarded_for).collect(),
        (None, Some(addresses)) => addresses.split(',').map(|text| Some(text.trim().to_owned())).collect(),
        (None, None) => Some(Vec::new()),
    };
    let hops: Option<Vec<IpAddr>> = elements.and_then(|elements| elements.iter().map(|text| address(text)).collect());
    hops.ok_or_else(|| refused("the proxy in between does not say which address the request comes from"))
}

/// What stands behind `for=` in an element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<String> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        let value = value.trim_matches('"').to_owned();
        name.eq_ignore_ascii_case("for").then_some(value)
    })
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    let bare = bracketed.map_or(text, |(address, _)| address);
    let address = bare
        .parse()
        .ok()
        .or_else(|| Some(bare.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
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
        ] {
            let error = client_of("10.0.0.9", bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Forbidden, "{bad:?}");
        }
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
