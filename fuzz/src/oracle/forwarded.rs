//! The address of the client, parsed in the simplest way: marks quotes, then cuts, then checks each piece.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Request};
use kazoo_storage::{AccessRules, ErrorKind, PeerAddr, authorize::Authorizer as _};

/// The trusted proxies.
const PROXIES: [&str; 2] = ["10.0.0.0/24", "2001:db8::/64"];

/// The proxy that connects.
const PEER: [u8; 4] = [10, 0, 0, 9];

/// The client's address, or `None` if the headers do not contain it.
#[must_use]
pub fn client(headers: &HeaderMap) -> Option<IpAddr> {
    let lines = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
    let (forwarded, addresses) = (lines("forwarded"), lines("x-forwarded-for"));
    if !forwarded.is_empty() && !addresses.is_empty() {
        return None;
    }
    let mut hops = Vec::new();
    for line in forwarded {
        for element in cut(&marked(line)?, ',') {
            let pairs: Option<Vec<_>> = cut(&element, ';').iter().map(|pair| self::pair(pair)).collect();
            let pairs = pairs?.into_iter().flatten();
            let said: Vec<String> = pairs
                .filter(|(name, _)| name == "for")
                .map(|(_, value)| value)
                .collect();
            let [one] = &said[..] else { return None };
            hops.push(address(one, false)?);
        }
    }
    for line in addresses {
        for element in line.to_str().ok()?.split(',') {
            hops.push(address(element.trim_matches([' ', '\t']), true)?);
        }
    }
    if hops.len() > 64 {
        return None;
    }
    let is_proxy = |hop: &IpAddr| match hop {
        IpAddr::V4(hop) => hop.octets().starts_with(&[10, 0, 0]),
        IpAddr::V6(hop) => hop.segments().starts_with(&[0x2001, 0xdb8, 0, 0]),
    };
    let first = hops.first().copied().unwrap_or(IpAddr::from(PEER));
    Some(hops.into_iter().rev().find(|hop| !is_proxy(hop)).unwrap_or(first))
}

/// Characters, each with `true` if it is inside a quoted string. Quotes stay and are not marked; escapes are removed.
type Marked = Vec<(char, bool)>;

fn marked(line: &HeaderValue) -> Option<Marked> {
    let mut letters = Vec::new();
    let mut quoted = false;
    let mut escaped = false;
    // No byte beyond ASCII is an address, a name or a value.
    for letter in line.as_bytes().iter().map(|byte| char::from(*byte)) {
        if !letter.is_ascii() {
            return None;
        }
        match letter {
            '\\' if quoted && !escaped => escaped = true,
            '"' if !escaped => {
                quoted = !quoted;
                letters.push(('"', false));
            }
            _ => {
                letters.push((letter, quoted));
                escaped = false;
            }
        }
    }
    (!quoted).then_some(letters)
}

fn cut(letters: &[(char, bool)], at: char) -> Vec<Marked> {
    letters
        .split(|letter| *letter == (at, false))
        .map(<[_]>::to_vec)
        .collect()
}

/// Returns the name and the value of a pair. The inner option is `None` for an empty pair.
fn pair(letters: &[(char, bool)]) -> Option<Vec<(String, String)>> {
    let is_blank = |letter: &(char, bool)| matches!(letter, (' ' | '\t', false));
    let (Some(start), Some(end)) = (
        letters.iter().position(|letter| !is_blank(letter)),
        letters.iter().rposition(|letter| !is_blank(letter)),
    ) else {
        return Some(Vec::new());
    };
    let letters = &letters[start..=end];
    let (name, value) = letters.split_at(letters.iter().position(|letter| *letter == ('=', false))?);
    let token = |letters: &[(char, bool)]| {
        let valid = |(letter, quoted): &(char, bool)| {
            !quoted && (letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(*letter))
        };
        let text: String = letters.iter().map(|(letter, _)| *letter).collect();
        (!letters.is_empty() && letters.iter().all(valid)).then_some(text)
    };
    let value = &value[1..];
    let value = match value {
        [('"', false), inner @ .., ('"', false)] => {
            let valid = |(letter, quoted): &(char, bool)| *quoted && (*letter == '\t' || !letter.is_control());
            let text: String = inner.iter().map(|(letter, _)| *letter).collect();
            inner.iter().all(valid).then_some(text)
        }
        _ => token(value),
    };
    Some(vec![(token(name)?.to_ascii_lowercase(), value?)])
}

fn address(text: &str, bare: bool) -> Option<IpAddr> {
    let bracketed = |text: &str| match text.strip_prefix('[')?.strip_suffix(']')?.parse() {
        Ok(IpAddr::V6(address)) => Some(IpAddr::V6(address)),
        _ => None,
    };
    let plain = |text: &str| match text.parse() {
        Ok(IpAddr::V6(address)) => bare.then_some(IpAddr::V6(address)),
        Ok(address) => Some(address),
        Err(_) => bracketed(text),
    };
    let with_port = || {
        let (address, port) = text.rsplit_once(':')?;
        let port = port.chars().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok();
        let address = match address.parse() {
            Ok(IpAddr::V4(address)) => Some(IpAddr::V4(address)),
            _ => bracketed(address),
        };
        address.filter(|_| port)
    };
    plain(text).or_else(with_port).map(|address| address.to_canonical())
}

/// Compares the crate with [`client`]: it authorizes the client's address and no other, and none if the headers do not
/// contain one.
///
/// # Panics
///
/// If they differ.
pub fn check(headers: &HeaderMap) {
    let kind = |networks: &[String]| {
        let rules = AccessRules::new().networks(networks).unwrap();
        let rules = rules.trusted_proxies(PROXIES).unwrap();
        let mut head = Request::new(()).into_parts().0;
        head.headers = headers.clone();
        head.extensions.insert(PeerAddr((IpAddr::from(PEER), 4711).into()));
        let granted = futures_util::FutureExt::now_or_never(rules.authorize(&mut head)).unwrap();
        granted.map_err(|error| error.kind()).err()
    };
    if let Some(address) = client(headers) {
        assert_eq!(kind(&[address.to_string()]), None, "{headers:?}");
    } else {
        let all = ["0.0.0.0/0", "::/0"].map(str::to_owned);
        assert_eq!(kind(&all), Some(ErrorKind::Forbidden), "{headers:?}");
    }
}
