//! A strict parser of `forwarded` (RFC 7239) and `x-forwarded-for`.
//!
//! Network rules rely on these headers, so the parser skips nothing: a value that is not valid from its first byte to
//! its last makes the whole chain invalid.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use http::{HeaderMap, header};

const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// The maximum number of addresses in a chain. A longer chain is invalid, which bounds the work per request.
const MAX_HOPS: usize = 64;

/// The addresses that proxies have added to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Forwarding {
    /// The request has neither header.
    Absent,
    /// The addresses, in the order of the hops. Never empty.
    Hops(Vec<IpAddr>),
    /// The request has both headers. A proxy that adds one of them forwards the client's own copy of the other.
    Both,
    /// The header is not a valid list of addresses.
    Invalid,
}

impl Forwarding {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut hops = Vec::new();
        let valid = match (
            headers.contains_key(header::FORWARDED),
            headers.contains_key(X_FORWARDED_FOR),
        ) {
            (false, false) => return Self::Absent,
            (true, true) => return Self::Both,
            (true, false) => headers
                .get_all(header::FORWARDED)
                .iter()
                .all(|line| forwarded(line.as_bytes(), &mut hops).is_some()),
            (false, true) => headers
                .get_all(X_FORWARDED_FOR)
                .iter()
                .all(|line| x_forwarded_for(line.as_bytes(), &mut hops).is_some()),
        };
        if valid { Self::Hops(hops) } else { Self::Invalid }
    }
}

fn push(hops: &mut Vec<IpAddr>, hop: IpAddr) -> Option<()> {
    (hops.len() < MAX_HOPS).then(|| hops.push(hop))
}

/// Parses one line of `x-forwarded-for`: addresses, separated by commas.
fn x_forwarded_for(line: &[u8], hops: &mut Vec<IpAddr>) -> Option<()> {
    for element in line.split(|byte| *byte == b',') {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = element.iter().position(|byte| !is_blank(byte))?;
        let end = element.iter().rposition(|byte| !is_blank(byte))?;
        let text = str::from_utf8(element.get(start..=end)?).ok()?;
        let hop = match text.parse::<Ipv6Addr>() {
            Ok(address) => IpAddr::from(address).to_canonical(),
            Err(_) => node(text)?,
        };
        push(hops, hop)?;
    }
    Some(())
}

/// Parses one line of `forwarded`: elements, separated by commas, each with exactly one `for`.
fn forwarded(line: &[u8], hops: &mut Vec<IpAddr>) -> Option<()> {
    let mut rest = Cursor(line);
    loop {
        push(hops, element(&mut rest)?)?;
        match rest.next() {
            None => return Some(()),
            Some(b',') => {}
            Some(_) => return None,
        }
    }
}

/// Parses the pairs of one element of `forwarded`, up to its comma.
fn element(rest: &mut Cursor<'_>) -> Option<IpAddr> {
    let mut hop = None;
    loop {
        rest.skip_blanks();
        if !matches!(rest.peek(), None | Some(b',' | b';')) {
            let name = rest.token()?;
            if rest.next() != Some(b'=') {
                return None;
            }
            let value = rest.value()?;
            if name.eq_ignore_ascii_case(b"for") {
                let address = node(str::from_utf8(&value).ok()?)?;
                if hop.replace(address).is_some() {
                    return None;
                }
            }
            rest.skip_blanks();
        }
        if rest.peek() != Some(b';') {
            return hop;
        }
        rest.next();
    }
}

/// Parses an IPv4 address, or an IPv6 address in brackets, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port): (IpAddr, &str) = if let Some(text) = text.strip_prefix('[') {
        let (address, port) = text.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else {
        let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (address.parse::<Ipv4Addr>().ok()?.into(), port)
    };
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    valid.then(|| address.to_canonical())
}

/// The unread bytes of a line.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.next();
        }
    }

    /// Reads a token (RFC 9110), which has at least one byte.
    fn token(&mut self) -> Option<&'a [u8]> {
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let len = self.0.iter().take_while(|byte| is_token(byte)).count();
        let (token, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        (len > 0).then_some(token)
    }

    /// Reads a token, or an ASCII quoted string without its quotes and escapes.
    fn value(&mut self) -> Option<Cow<'a, [u8]>> {
        if self.peek() != Some(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        self.next();
        let mut text = Vec::new();
        loop {
            let byte = match self.next()? {
                b'"' => return Some(text.into()),
                b'\\' => self.next()?,
                byte => byte,
            };
            if !matches!(byte, b'\t' | b' '..=b'~') {
                return None;
            }
            text.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &[u8])]) -> Forwarding {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, http::HeaderValue::from_bytes(line).unwrap());
        }
        Forwarding::of(&headers)
    }

    #[test]
    fn reads_every_spelling_of_an_address() {
        for (name, line, expected) in [
            (X_FORWARDED_FOR, "192.0.2.1", "192.0.2.1"),
            (X_FORWARDED_FOR, " 192.0.2.1:65535\t", "192.0.2.1"),
            (X_FORWARDED_FOR, "2001:db8::1", "2001:db8::1"),
            (X_FORWARDED_FOR, "[2001:db8::1]", "2001:db8::1"),
            (X_FORWARDED_FOR, "[2001:db8::1]:80", "2001:db8::1"),
            (X_FORWARDED_FOR, "::ffff:192.0.2.1", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1", "192.0.2.1"),
            ("forwarded", "proto=http ; FOR=\"192.0.2.1:80\";by=_x", "192.0.2.1"),
            ("forwarded", "for=\"[2001:db8::1]:80\";", "2001:db8::1"),
            ("forwarded", "for=\"\\192.0.2.1\";host=\"a,b;for=x\\\"\"", "192.0.2.1"),
            ("forwarded", ";;for=\"[::ffff:192.0.2.1]\"", "192.0.2.1"),
        ] {
            let expected = Forwarding::Hops(vec![expected.parse().unwrap()]);
            assert_eq!(of(&[(name, line.as_bytes())]), expected, "{line}");
        }
        let lines: [(_, &[u8]); 2] = [(X_FORWARDED_FOR, b"192.0.2.1,::1"), (X_FORWARDED_FOR, b"192.0.2.2")];
        let hops = ["192.0.2.1", "::1", "192.0.2.2"].map(|hop| hop.parse().unwrap());
        assert_eq!(of(&lines), Forwarding::Hops(hops.into()));
    }

    #[test]
    fn refuses_a_header_that_is_not_valid_throughout() {
        for bad in [
            "",
            " ",
            ",",
            "192.0.2.1,",
            ",192.0.2.1",
            "192.0.2.1,,192.0.2.2",
            "192.0.2.1 192.0.2.2",
            "unknown",
            "_hidden",
            "192.0.2.01",
            "192.0.2",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:65536",
            "192.0.2.1:+80",
            "192.0.2.1:_port",
            "[192.0.2.1]",
            "[::1",
            "::1]",
            "[::1]80",
            "[::1]:",
            "[::1]x",
            "fe80::1%eth0",
            "[fe80::1%25eth0]",
            "[]",
            "[::1]:80:80",
            "\"192.0.2.1\"",
            "é, 192.0.2.1",
        ] {
            assert_eq!(of(&[(X_FORWARDED_FOR, bad.as_bytes())]), Forwarding::Invalid, "{bad}");
        }
        for bad in [
            "",
            ";",
            "proto=http",
            "for=",
            "for",
            "=192.0.2.1",
            "for =192.0.2.1",
            "for= 192.0.2.1",
            "for=unknown",
            "for=_hidden",
            "for=192.0.2.1;for=192.0.2.1",
            "for=192.0.2.1,",
            ",for=192.0.2.1",
            "for=192.0.2.1,proto=http",
            "for=192.0.2.1:80",
            "for=[::1]",
            "for=\"::1\"",
            "for=\"192.0.2.1",
            "for=192.0.2.1\"",
            "for=\"192.0.2.1\"x",
            "for=\"192.0.2.1\\\"",
            "for=192.0.2.1;host=\"é\"",
            "for=192.0.2.1;by=\", for=192.0.2.2",
            "for=192.0.2.1 proto=http",
        ] {
            assert_eq!(of(&[("forwarded", bad.as_bytes())]), Forwarding::Invalid, "{bad}");
        }
        // One invalid line invalidates all of them.
        let good: (_, &[u8]) = (X_FORWARDED_FOR, b"192.0.2.1");
        for bad in [&b"\xe9"[..], b""] {
            assert_eq!(of(&[good, (X_FORWARDED_FOR, bad)]), Forwarding::Invalid);
            assert_eq!(of(&[(X_FORWARDED_FOR, bad), good]), Forwarding::Invalid);
            assert_eq!(of(&[good, ("forwarded", bad)]), Forwarding::Both);
        }
    }

    #[test]
    fn bounds_the_chain() {
        let chain = |hops: usize| vec!["192.0.2.1"; hops].join(",");
        let hops = vec![IpAddr::from([192, 0, 2, 1]); MAX_HOPS];
        assert_eq!(
            of(&[(X_FORWARDED_FOR, chain(MAX_HOPS).as_bytes())]),
            Forwarding::Hops(hops)
        );
        for many in [MAX_HOPS + 1, 5000] {
            assert_eq!(of(&[(X_FORWARDED_FOR, chain(many).as_bytes())]), Forwarding::Invalid);
        }
    }
}
