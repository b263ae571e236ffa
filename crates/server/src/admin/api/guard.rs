//! Decides which requests reach the API: only those of the operator, and none that a website sends by the operator's browser.

use std::{net::IpAddr, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, header, uri::Authority};
use kazoo_storage::{Body, Error, ErrorKind};

use crate::admin::{listener::Local, token::Token};

/// The conditions for a request to reach the API.
pub(super) struct Guard {
    /// The secret of the operator. Without one, nobody has access.
    pub(super) token: Option<Arc<Token>>,
    /// Names of this server beside its address.
    pub(super) hosts: Vec<String>,
}

impl Guard {
    /// Checks host, origin and token of a request. Returns the refusal.
    pub(super) fn check<B>(&self, request: &Request<B>, local: Local) -> Result<(), Box<Response<Body>>> {
        let headers = request.headers();
        let forbidden = |message: String| Box::new(Error::new(ErrorKind::Forbidden, message).to_response());
        // A website whose name has been changed to the address of this server (DNS rebinding) still sends its name.
        let host = request.uri().authority().map(Authority::as_str);
        let host = host.or_else(|| text(headers, header::HOST.as_str()));
        if !is_of_server(host, local, &self.hosts) {
            return Err(forbidden(
                "the request is for another host; use the address of --admin, `localhost`, or a name in --admin-host"
                    .to_owned(),
            ));
        }
        let site = text(headers, "sec-fetch-site").unwrap_or("none");
        if !["none", "same-origin"].contains(&site)
            || headers.get(header::ORIGIN).is_some_and(|origin| !is_same(origin, host))
        {
            return Err(forbidden(
                "the request comes from a website; the API is not for websites".to_owned(),
            ));
        }
        let Some(token) = &self.token else {
            let message =
                "the API is off; start the server with --admin-token-file FILE, which is created if it does not exist";
            return Err(forbidden(message.to_owned()));
        };
        let credentials = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = credentials.and_then(|bytes| bytes.split_at_checked(7));
        let given = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        if given.is_some_and(|(_, secret)| token.is(secret)) {
            return Ok(());
        }
        let message = match given {
            Some(_) => "the token is wrong; it is in the file of the server's --admin-token-file",
            None => {
                "the request has no token; send `Authorization: Bearer TOKEN` with that of the server's --admin-token-file"
            }
        };
        let mut response = Error::new(ErrorKind::Unauthorized, message).to_response();
        let challenge = HeaderValue::from_static("Bearer realm=\"kazoo-storage admin\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        Err(Box::new(response))
    }
}

/// Returns `true` if `host` names this server. Only a browser could be deceived about it, and none opens Unix sockets.
fn is_of_server(host: Option<&str>, local: Local, names: &[String]) -> bool {
    let Local::Ip(address) = local else { return true };
    let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let host = host.host();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if let Ok(literal) = literal {
        return literal.to_canonical().is_loopback() || literal.to_canonical() == address;
    }
    host.eq_ignore_ascii_case("localhost") || names.iter().any(|name| host.eq_ignore_ascii_case(name))
}

/// Returns `true` if `origin` is the server itself.
fn is_same(origin: &HeaderValue, host: Option<&str>) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| Some(authority) == host)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_its_own_hosts() {
        let names = ["storage-1.internal".to_owned()];
        let accepts = |host, local: &str| is_of_server(host, Local::Ip(local.parse().unwrap()), &names);
        for host in [
            "localhost",
            "LOCALHOST:9180",
            "127.0.0.1:9180",
            "127.9.9.9",
            "[::1]:9180",
            "10.0.0.7:9180",
            "Storage-1.internal:1",
        ] {
            assert!(accepts(Some(host), "10.0.0.7"), "{host}");
        }
        for host in [
            "",
            "10.0.0.8",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com",
            "x@y z",
        ] {
            assert!(!accepts(Some(host), "10.0.0.7"), "{host}");
        }
        assert!(!accepts(None, "10.0.0.7"));
        assert!(is_of_server(None, Local::Unix, &[]) && is_of_server(Some("example.com"), Local::Unix, &[]));
    }
}
