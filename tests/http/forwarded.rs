//! The addresses in forwarding headers: the crate's parser against a naive one, over random input.

#[path = "../../fuzz/src/oracle/forwarded.rs"]
#[allow(unreachable_pub)] // The fuzz target shares it.
mod oracle;

use http::{HeaderMap, HeaderValue};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};

const PIECES: [&[u8]; 40] = [
    b"192.0.2.1",
    b"10.0.0.7",
    b"2001:db8::7",
    b"2001:db8:1::1",
    b"::ffff:192.0.2.9",
    b"[2001:db8:1::1]",
    b"[::1]",
    b":80",
    b":65536",
    b":_port",
    b"192.0.2.01",
    b"fe80::1%eth0",
    b"[fe80::1%1]",
    b"unknown",
    b"_hidden",
    b"for=",
    b"For=",
    b"by=",
    b"proto=http",
    b";host=\"a,b;for=192.0.2.1\"",
    b"\"192.0.2.1:80\"",
    b"\"[2001:db8:1::1]:80\"",
    b"\"[::1]\"",
    b"\"",
    b"\\",
    b"\\\"",
    b",",
    b", ",
    b";",
    b"; ",
    b"=",
    b" ",
    b"\t",
    b"\xe9",
    b"\x7f",
    b"[",
    b"]",
    b"",
    b"for=192.0.2.1",
    b"for=10.0.0.7",
];

/// A valid line.
fn valid(forwarded: bool) -> BoxedStrategy<Vec<u8>> {
    let addresses: &[&str] = if forwarded {
        &[
            "for=192.0.2.1",
            "for=10.0.0.7",
            "For=\"[2001:db8:1::1]:80\"",
            "proto=http;for=\"10.0.0.8:1\";host=\"a,\\\"b\"",
        ]
    } else {
        &[
            "192.0.2.1",
            "10.0.0.7:80",
            "2001:db8:1::1",
            "[2001:db8::7]:1",
            "::ffff:192.0.2.9",
        ]
    };
    vec(select(addresses), 1..5)
        .prop_map(|elements| elements.join(", ").into_bytes())
        .boxed()
}

/// Lines of both headers: valid ones, valid ones with a byte changed, and random pieces.
fn lines() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
    let line = |forwarded: bool| {
        let changed = (valid(forwarded), any::<prop::sample::Index>(), select(PIECES.to_vec())).prop_map(
            |(mut line, at, piece)| {
                let at = at.index(line.len());
                line.splice(at..=at, piece.iter().copied());
                line
            },
        );
        let made = vec(select(PIECES.to_vec()), 0..7).prop_map(|pieces| pieces.concat());
        prop_oneof![valid(forwarded), changed, made].prop_map(move |line| (forwarded, line))
    };
    let one = |forwarded: bool| vec(line(forwarded), 0..4);
    prop_oneof![4 => one(false), 4 => one(true), 1 => vec(prop_oneof![line(false), line(true)], 2..4)]
}

fn headers(lines: &[(bool, Vec<u8>)]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (forwarded, line) in lines {
        let name = if *forwarded { "forwarded" } else { "x-forwarded-for" };
        headers.append(name, HeaderValue::from_bytes(line).ok()?);
    }
    Some(headers)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4096,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn accepts_only_a_completely_valid_header(lines in lines()) {
        if let Some(headers) = headers(&lines) {
            oracle::check(&headers);
        }
    }
}

/// The random lines reach every outcome often. Headers that once bypassed the check are refused.
#[test]
fn refuses_headers_that_hide_the_real_address() {
    let forwarded = |lines: &[(&'static str, &[u8])]| {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_bytes(line).unwrap());
        }
        oracle::check(&headers);
        oracle::client(&headers).map(|address| address.to_string())
    };
    let real: (_, &[u8]) = ("x-forwarded-for", b"203.0.113.9");
    assert_eq!(forwarded(&[]).as_deref(), Some("10.0.0.9"));
    assert_eq!(forwarded(&[real]).as_deref(), Some("203.0.113.9"));
    for lines in [
        &[("x-forwarded-for", &b"\xe9, 203.0.113.9"[..])][..],
        &[("x-forwarded-for", b"\xe9"), real],
        &[("x-forwarded-for", b"")],
        &[("x-forwarded-for", b""), real],
        &[("forwarded", b"\xe9"), real],
        &[("forwarded", b""), real],
        &[("forwarded", b"for=127.0.0.1;by=\", for=203.0.113.9")],
    ] {
        assert_eq!(forwarded(lines), None, "{lines:?}");
    }
}
