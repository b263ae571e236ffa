use http::{HeaderValue, Version, header, request::Parts, uri::Authority};

use crate::error::{Error, ErrorKind, Result};

/// Rejects a request with more than one host, or an invalid one: a proxy in front may choose a different one.
///
/// HTTP/2 has `:authority` instead.
pub(super) fn check(head: &Parts) -> Result<()> {
    if head.version > Version::HTTP_11 {
        return Ok(());
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let message = match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => "the request has more than one host header: send exactly one",
        (Some(host), None) if !is_host(host) => {
            "the host header is not a host with an optional port: send `HOST` or `HOST:PORT`"
        }
        _ => return Ok(()),
    };
    Err(Error::new(ErrorKind::InvalidRequest, message))
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

    fn is_rejected(version: Version, hosts: &[&str]) -> bool {
        let mut request = Request::put("/").version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        check(&request.body(()).unwrap().into_parts().0).is_err()
    }

    #[test]
    fn accepts_one_valid_host_at_most() {
        for (hosts, rejected) in [
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
            assert_eq!(is_rejected(Version::HTTP_11, hosts), rejected, "{hosts:?}");
            assert!(!is_rejected(Version::HTTP_2, hosts), "{hosts:?}");
        }
    }
}
