use http::{HeaderValue, Version, header, request::Parts, uri::Authority};

use crate::framing::ambiguity;

/// Returns the reason why the end of this request, or its host, is ambiguous, if it is.
///
/// A proxy in front may take another place for its end, and then takes a part of what follows for a request of its own
/// choosing, or leaves it out. HTTP/2 has lengths of its own.
pub(super) fn doubt(head: &Parts) -> Option<&'static str> {
    if head.version > Version::HTTP_11 {
        return None;
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    ambiguity(head).or_else(|| match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some("the request has more than one host; nothing was stored"),
        (Some(host), None) if !is_host(host) => {
            Some("the host header is not a host with an optional port; nothing was stored")
        }
        _ => None,
    })
}

/// Returns `true` for `HOST`, `HOST:PORT` and the empty value that is sent for a URL without a host.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(value.as_bytes()) else {
        return value.is_empty();
    };
    let port = authority.as_str().strip_prefix(authority.host());
    let port = port.map(|port| port.strip_prefix(':').unwrap_or(port));
    port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn is_doubted(version: Version, hosts: &[&str]) -> bool {
        let mut request = Request::put("/").version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        doubt(&request.body(()).unwrap().into_parts().0).is_some()
    }

    #[test]
    fn accepts_one_valid_host_at_most() {
        for (hosts, doubted) in [
            (&[][..], false),
            (&[""], false),
            (&["h"], false),
            (&["storage_1.example.com:8080"], false),
            (&["[2001:db8::1]:8080"], false),
            (&["h", "h"], true),
            (&["user@h"], true),
            (&["h/p"], true),
            (&["h i"], true),
            (&["h:"], false),
            (&["h:x"], true),
        ] {
            assert_eq!(is_doubted(Version::HTTP_11, hosts), doubted, "{hosts:?}");
            assert!(!is_doubted(Version::HTTP_2, hosts), "{hosts:?}");
        }
    }
}
