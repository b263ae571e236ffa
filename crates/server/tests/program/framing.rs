//! Request framing: an ambiguous request is refused, and the bytes after it are never interpreted as a request.
//!
//! The table lists the answers to each input from the service in axum, on bare hyper and in the program; whole, in
//! pieces and byte by byte. A proxy may parse an ambiguous request differently, so such a request closes the
//! connection, and the request that is hidden behind it stores nothing.

use std::net::SocketAddr;

use kazoo_storage::{BlobKey, KazooStorage};
use kazoo_storage_test_support::{
    client::{Connection, Pace, request},
    fixture::kazoo_fetch,
    server::{Front, Server},
    stores::Spy,
};

use Says::{Bare, Done, Elsewhere, Go, Told};
use Then::{Closed, Either, Ended, Open};

const MOUNT: &str = "/some_prefix";
/// A file that is stored beforehand, and fetched to test whether a connection works.
const OLD: (&str, &str) = ("/some_prefix/ACC/OLD/old.mp3", "the older file");
/// The request that is hidden behind others.
const HIDDEN: &str = "PUT /some_prefix/ACC/DOC/hidden.mp3 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nBAD";

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// An interim answer.
    Go(u16),
    /// An answer of the service other than a refusal.
    Done(u16),
    /// A refusal with JSON.
    Told(u16),
    /// A refusal by hyper, without JSON.
    Bare(u16),
    /// The 404 of the service beside the mount.
    Elsewhere,
}

/// The state of the connection after the last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next request is answered, and nothing precedes its answer.
    Open,
    /// The server closes the connection without sending more.
    Closed,
    /// Either, depending on whether the rest of an unread body has arrived.
    Either,
    /// The client ends the connection after these bytes. Then as `Closed`.
    Ended,
}

struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    says: &'static [Says],
    then: Then,
    /// The files that are stored below `ACC/DOC` afterwards, with their content.
    stored: &'static [(&'static str, &'static str)],
}

type Row = (
    &'static str,
    Vec<u8>,
    &'static [Says],
    Then,
    &'static [(&'static str, &'static str)],
);

fn cases(rows: Vec<Row>) -> Vec<Case> {
    let case = |(what, bytes, says, then, stored)| Case {
        what,
        bytes,
        says,
        then,
        stored,
    };
    rows.into_iter().map(case).collect()
}

/// An upload with these lines in its head.
fn put(lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", lines, body)
}

/// A request that starts with `line`.
fn from(line: &str, lines: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let host = if lines.iter().any(|line| line.starts_with("host")) {
        ""
    } else {
        "host: h\r\n"
    };
    let lines: String = lines.iter().flat_map(|line| [*line, "\r\n"]).collect();
    [format!("{line}\r\n{host}{lines}\r\n").as_bytes(), body.as_ref()].concat()
}

/// An upload of `ID3` to this target.
fn to(target: &str) -> Vec<u8> {
    from(&format!("PUT {target} HTTP/1.1"), &["content-length: 3"], "ID3")
}

/// An upload of these chunks.
fn chunks(chunks: &str) -> Vec<u8> {
    put(&["transfer-encoding: chunked"], chunks)
}

/// `bytes` followed by the hidden request.
fn hiding(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [bytes.as_ref(), HIDDEN.as_bytes()].concat()
}

fn raw(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    bytes.as_ref().to_vec()
}

const NOTHING: &[(&str, &str)] = &[];
const ID3: &[(&str, &str)] = &[("a.mp3", "ID3")];
const HELLO: &[(&str, &str)] = &[("a.mp3", "hello")];
const REFUSED: &[Says] = &[Bare(400)];
const BROKEN: &[Says] = &[Told(400)];

// A table: one line for each row.
#[rustfmt::skip]
fn lengths() -> Vec<Case> {
    let one = |value: &str| hiding(put(&[&format!("content-length: {value}")], "ID3"));
    cases(vec![
        ("one length", put(&["content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("two lengths, the same", put(&["content-length: 3", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("two lengths, the longer last", hiding(put(&["content-length: 3", "content-length: 6"], "ID3")), REFUSED, Closed, NOTHING),
        ("two lengths, the longer first", hiding(put(&["content-length: 6", "content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two lengths, none first", hiding(put(&["content-length: 0", "content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a list of the same length", one("3, 3"), REFUSED, Closed, NOTHING),
        ("a list of two lengths", one("3, 6"), REFUSED, Closed, NOTHING),
        ("a negative length", one("-3"), REFUSED, Closed, NOTHING),
        ("a length with a plus", one("+3"), REFUSED, Closed, NOTHING),
        ("a length in hexadecimal digits", one("0x3"), REFUSED, Closed, NOTHING),
        ("a length of letters", one("three"), REFUSED, Closed, NOTHING),
        ("a length with a point", one("3.0"), REFUSED, Closed, NOTHING),
        ("a length with a space inside", one("3 3"), REFUSED, Closed, NOTHING),
        ("a length of 2^64 and 3", one("18446744073709551619"), REFUSED, Closed, NOTHING),
        ("a length of 2^64 - 1", one("18446744073709551615"), &[Bare(431)], Closed, NOTHING),
        ("an empty length", hiding(put(&["content-length:"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length with zeros before it", put(&["content-length: 0003"], "ID3"), &[Done(201)], Open, ID3),
        ("a length with spaces around it", put(&["content-length: \t 3 \t"], "ID3"), &[Done(201)], Open, ID3),
        ("a length with a vertical tab", one("\u{b}3"), REFUSED, Closed, NOTHING),
        ("a length on a folded line", hiding(put(&["content-length:\r\n 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length that is folded on", hiding(put(&["content-length: 3\r\n 0"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length before a space and the colon", hiding(put(&["content-length : 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a length by the name of a variable", put(&["content_length: 300", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("no length is no body", put(&[], ""), &[Done(201)], Open, &[("a.mp3", "")]),
    ])
}

#[rustfmt::skip]
fn encodings() -> Vec<Case> {
    let te = |value: &str| hiding(put(&[&format!("transfer-encoding: {value}")], "5\r\nhello\r\n0\r\n\r\n"));
    let lines = |lines: &[&str]| hiding(put(lines, "5\r\nhello\r\n0\r\n\r\n"));
    cases(vec![
        ("chunked", chunks("5\r\nhello\r\n0\r\n\r\n"), &[Done(201)], Open, HELLO),
        ("chunked in capitals", put(&["TRANSFER-ENCODING: CHUNKED"], "5\r\nhello\r\n0\r\n\r\n"), &[Done(201)], Open, HELLO),
        // The length is ignored then, and RFC 9112 requires that the connection is closed.
        ("a length, then chunked", lines(&["content-length: 3", "transfer-encoding: chunked"]), &[Done(201)], Closed, HELLO),
        ("chunked, then a length", lines(&["transfer-encoding: chunked", "content-length: 3"]), &[Done(201)], Closed, HELLO),
        ("chunked between two lengths", lines(&["content-length: 3", "transfer-encoding: chunked", "content-length: 9"]), &[Done(201)], Closed, HELLO),
        ("a length that is none, then chunked", lines(&["content-length: x", "transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("a length, then what is not chunked", lines(&["content-length: 15", "transfer-encoding: identity"]), REFUSED, Closed, NOTHING),
        ("xchunked", te("xchunked"), REFUSED, Closed, NOTHING),
        ("chunkedx", te("chunkedx"), REFUSED, Closed, NOTHING),
        ("chunked in quotes", te("\"chunked\""), REFUSED, Closed, NOTHING),
        ("chunked with a parameter", te("chunked;q=1"), REFUSED, Closed, NOTHING),
        ("identity", te("identity"), REFUSED, Closed, NOTHING),
        ("nothing", te(""), REFUSED, Closed, NOTHING),
        ("chunked, identity", te("chunked, identity"), REFUSED, Closed, NOTHING),
        ("chunked, then identity", lines(&["transfer-encoding: chunked", "transfer-encoding: identity"]), REFUSED, Closed, NOTHING),
        ("identity, chunked", te("identity, chunked"), &[Told(400)], Closed, NOTHING),
        ("identity, then chunked", lines(&["transfer-encoding: identity", "transfer-encoding: chunked"]), &[Told(400)], Closed, NOTHING),
        ("gzip, chunked", te("gzip, chunked"), &[Told(400)], Closed, NOTHING),
        ("chunked, chunked", te("chunked, chunked"), &[Told(400)], Closed, NOTHING),
        ("chunked, then chunked", lines(&["transfer-encoding: chunked", "transfer-encoding: chunked"]), &[Told(400)], Closed, NOTHING),
        ("nothing, chunked", te(", chunked"), &[Told(400)], Closed, NOTHING),
        ("chunked of what is no upload", hiding(from("DELETE /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["transfer-encoding: x, chunked"], "0\r\n\r\n")), &[Told(400)], Closed, NOTHING),
        ("chunked after a vertical tab", te("\u{b}chunked"), REFUSED, Closed, NOTHING),
        ("chunked after a form feed", te("\u{c}chunked"), REFUSED, Closed, NOTHING),
        ("chunked before a NUL", te("chunked\0"), REFUSED, Closed, NOTHING),
        ("chunked after tabs and spaces", put(&["transfer-encoding:\t \tchunked\t"], "5\r\nhello\r\n0\r\n\r\n"), &[Done(201)], Open, HELLO),
        ("a space before the colon", lines(&["transfer-encoding : chunked"]), REFUSED, Closed, NOTHING),
        ("a tab before the colon", lines(&["transfer-encoding\t: chunked"]), REFUSED, Closed, NOTHING),
        ("a vertical tab before the colon", lines(&["transfer-encoding\u{b}: chunked"]), REFUSED, Closed, NOTHING),
        ("a space before the name", lines(&[" transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("chunked on a folded line", lines(&["transfer-encoding:\r\n chunked"]), REFUSED, Closed, NOTHING),
        ("chunked that is folded on", lines(&["transfer-encoding: chunked,\r\n\tidentity"]), REFUSED, Closed, NOTHING),
        ("another header's folded line", lines(&["x-a: b\r\n transfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("chunked behind a bare CR", lines(&["x-a: b\rtransfer-encoding: chunked"]), REFUSED, Closed, NOTHING),
        ("by the name of a variable", put(&["transfer_encoding: chunked", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("named by `connection`", put(&["connection: content-length, transfer-encoding", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
    ])
}

#[rustfmt::skip]
fn chunked_bodies() -> Vec<Case> {
    let bad = |body: &str| hiding(chunks(body));
    let extension = "x".repeat(17 << 10);
    let trailers = "x-a: b\r\n".repeat(200);
    let trailer = "x".repeat(17 << 10);
    cases(vec![
        ("no chunk", chunks("0\r\n\r\n"), &[Done(201)], Open, &[("a.mp3", "")]),
        ("zeros before a size", chunks("0005\r\nhello\r\n000\r\n\r\n"), &[Done(201)], Open, HELLO),
        ("a size in capitals", chunks("A\r\nhello mp3s\r\n0\r\n\r\n"), &[Done(201)], Open, &[("a.mp3", "hello mp3s")]),
        ("a size with spaces behind it", chunks("5 \t\r\nhello\r\n0\r\n\r\n"), &[Done(201)], Open, HELLO),
        ("a space before a size", bad(" 5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("two sizes", bad("5 5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("an extension", chunks("5;a=b;c=\"d;e\"\r\nhello\r\n0;x\r\n\r\n"), &[Done(201)], Open, HELLO),
        ("a long extension", bad(&format!("5;{extension}\r\nhello\r\n0\r\n\r\n")), BROKEN, Closed, NOTHING),
        ("a bare LF in an extension", bad("5;a\nb\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a bare CR in an extension", bad("5;a\rb\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size that is no number", bad("zz\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a negative size", bad("-5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size with a plus", bad("+5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size with 0x", bad("0x5\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("an empty size", bad("\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a size of 17 digits", bad("10000000000000005\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a later size of 17 digits", bad("5\r\nhello\r\n10000000000000000\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a chunk that is longer than it says", bad("3\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a chunk that is shorter than it says", bad("8\r\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("no CRLF behind a chunk", bad("5\r\nhello0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind a size", bad("5\nhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("CR behind a size", bad("5\rhello\r\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind a chunk", bad("5\r\nhello\n0\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("LF behind the last size", bad("5\r\nhello\r\n0\n\r\n"), BROKEN, Closed, NOTHING),
        // Nothing after trailers is interpreted as a request: hyper accepts invalid lines, and lines that end with LF.
        ("LF at the end", bad("5\r\nhello\r\n0\r\n\n"), &[Done(201)], Closed, HELLO),
        ("LF at the end of a trailer", bad("5\r\nhello\r\n0\r\nx: y\n\n"), &[Done(201)], Closed, HELLO),
        ("a trailer", bad("5\r\nhello\r\n0\r\nx-checksum: 7\r\n\r\n"), &[Done(201)], Closed, HELLO),
        ("a trailer that is a length", bad("5\r\nhello\r\n0\r\ncontent-length: 99\r\n\r\n"), &[Done(201)], Closed, HELLO),
        ("a trailer that is an encoding", bad("5\r\nhello\r\n0\r\ntransfer-encoding: chunked\r\n\r\n"), &[Done(201)], Closed, HELLO),
        ("a trailer that is a host", bad("5\r\nhello\r\n0\r\nhost: other\r\nauthorization: Basic eDp5\r\n\r\n"), &[Done(201)], Closed, HELLO),
        ("a trailer without a colon", bad("5\r\nhello\r\n0\r\nrubbish\r\n\r\n"), BROKEN, Closed, NOTHING),
        ("a request for a trailer", bad("5\r\nhello\r\n0\r\n"), BROKEN, Closed, NOTHING),
        ("a hundred trailers and more", bad(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n")), BROKEN, Closed, NOTHING),
        ("a long trailer", bad(&format!("5\r\nhello\r\n0\r\nx: {trailer}\r\n\r\n")), BROKEN, Closed, NOTHING),
        ("a hidden request in a chunk", chunks(&format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())), &[Done(201)], Open, &[("a.mp3", HIDDEN)]),
    ])
}

#[rustfmt::skip]
fn heads() -> Vec<Case> {
    let with = |line: &str| put(&[line, "content-length: 3"], "ID3");
    let bad = |line: &str| hiding(with(line));
    let head = |text: &str| hiding(text.replace("A.MP3", "/some_prefix/ACC/DOC/a.mp3"));
    let many: Vec<String> = (0..98).map(|n| format!("x-{n}: y")).collect();
    let mut most: Vec<&str> = many.iter().map(String::as_str).collect();
    most.push("content-length: 3");
    let mut more = most.clone();
    more.push("x-more: y");
    let long = "x".repeat(2_000_000);
    let method = "X".repeat(60_000);
    let target = "x".repeat(62_000);
    let too_long = "x".repeat(66_000);
    cases(vec![
        // RFC 9112 permits a bare LF as the end of a line, and hyper accepts it everywhere.
        ("LF at the end of each line", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\nhost: h\ncontent-length: 3\n\nID3"), &[Done(201)], Open, ID3),
        ("LF at the end of one line", with("x-a: b\nx-c: d"), &[Done(201)], Open, ID3),
        ("LF before a length", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\nhost: h\r\nx: y\ncontent-length: 3\r\n\r\nID3"), &[Done(201)], Open, ID3),
        ("CR at the end of each line", head("PUT A.MP3 HTTP/1.1\rhost: h\rcontent-length: 3\r\rID3"), REFUSED, Closed, NOTHING),
        ("CR at the end of one line", bad("x-a: b\rx-c: d"), REFUSED, Closed, NOTHING),
        ("two CR and LF", bad("x-a: b\r"), REFUSED, Closed, NOTHING),
        ("CR alone on a line", bad("\r"), REFUSED, Closed, NOTHING),
        ("empty lines before a request", [b"\r\n\r\n", &with("x: y")[..]].concat(), &[Done(201)], Open, ID3),
        ("a space before a request", [b" ", &bad("x: y")[..]].concat(), REFUSED, Closed, NOTHING),
        ("a space before the first header", bad(" x: y"), REFUSED, Closed, NOTHING),
        ("a space before the colon", bad("x : y"), REFUSED, Closed, NOTHING),
        ("a space in a name", bad("x y: z"), REFUSED, Closed, NOTHING),
        ("a folded line", bad("x: y\r\n z"), REFUSED, Closed, NOTHING),
        ("a line without a colon", bad("rubbish"), REFUSED, Closed, NOTHING),
        ("an empty name", bad(": y"), REFUSED, Closed, NOTHING),
        ("a NUL in a name", bad("x\0: y"), REFUSED, Closed, NOTHING),
        ("a NUL in a value", bad("x: y\0z"), REFUSED, Closed, NOTHING),
        ("a byte over 0x7f in a name", bad("x\u{e9}: y"), REFUSED, Closed, NOTHING),
        ("bytes over 0x7f in a value", with("x: gr\u{fc}n"), &[Done(201)], Open, ID3),
        ("an empty value", with("te: "), &[Done(201)], Open, ID3),
        ("KAZOO's two names for the media type", put(&["content-type: audio/mpeg", "content_type: audio/mpeg", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("no host by HTTP/1.0", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0\r\ncontent-length: 3\r\n\r\nID3"), &[Done(201)], Closed, ID3),
        ("an empty host", put(&["host:", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("two hosts", hiding(put(&["host: h", "host: i", "content-length: 3"], "ID3")), &[Told(400)], Closed, NOTHING),
        ("two hosts, the same", hiding(put(&["host: h", "host: h", "content-length: 3"], "ID3")), &[Told(400)], Closed, NOTHING),
        ("a host and a port", put(&["host: [2001:db8::1]:8080", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("a host with a user", hiding(put(&["host: user@h", "content-length: 3"], "ID3")), &[Told(400)], Closed, NOTHING),
        ("a host with a path", hiding(put(&["host: h/some_prefix", "content-length: 3"], "ID3")), &[Told(400)], Closed, NOTHING),
        ("a host with a space", hiding(put(&["host: h i", "content-length: 3"], "ID3")), &[Told(400)], Closed, NOTHING),
        ("a hundred headers", put(&most, "ID3"), &[Done(201)], Open, ID3),
        ("a hundred headers and one", hiding(put(&more, "ID3")), &[Bare(431)], Closed, NOTHING),
        ("a head that is too long", hiding(put(&[&format!("x: {long}")], "ID3")), &[Bare(431)], Closed, NOTHING),
        ("an upgrade that nobody grants", put(&["connection: upgrade", "upgrade: h2c", "http2-settings: AAMAAABk", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("a client that closes", hiding(put(&["connection: keep-alive", "connection: x, close", "content-length: 3"], "ID3")), &[Done(201)], Closed, ID3),
        ("a method in lower case", from("put /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Told(405)], Open, NOTHING),
        ("a long method", from(&format!("{method} /some_prefix/ACC/DOC/a.mp3 HTTP/1.1"), &["content-length: 3"], "ID3"), &[Told(405)], Open, NOTHING),
        ("a method with a colon", hiding(from("P:T /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a tab behind the method", hiding(from("PUT\t/some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two spaces behind the method", hiding(from("PUT  /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("two spaces behind the target", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3  HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a space behind the version", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1 ", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("another version", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.2", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a version in lower case", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 http/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("version 2.0", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/2.0", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("HTTP/0.9", raw("GET /some_prefix/ACC/OLD/old.mp3\r\n\r\n"), REFUSED, Closed, NOTHING),
        ("HTTP/0.9, and a request behind it", hiding("GET /some_prefix/ACC/OLD/old.mp3\r\n"), REFUSED, Closed, NOTHING),
        ("TLS", raw(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"), REFUSED, Closed, NOTHING),
        ("a target that is long", to(&format!("/some_prefix/ACC/DOC/a.mp3?{target}")), &[Done(201)], Open, ID3),
        ("a target that is too long", hiding(to(&format!("/some_prefix/ACC/DOC/{too_long}"))), &[Bare(414)], Closed, NOTHING),
    ])
}

#[rustfmt::skip]
fn targets() -> Vec<Case> {
    cases(vec![
        ("a whole URL", to("http://h/some_prefix/ACC/DOC/a.mp3"), &[Done(201)], Open, ID3),
        ("a whole URL of another host", to("http://other.example:81/some_prefix/ACC/DOC/a.mp3"), &[Done(201)], Open, ID3),
        ("a whole URL with userinfo", to("http://user:pass@h/some_prefix/ACC/DOC/a.mp3"), &[Done(201)], Open, ID3),
        ("a whole URL of another scheme", to("ftp://h/some_prefix/ACC/DOC/a.mp3"), &[Done(201)], Open, ID3),
        ("a whole URL without a path", to("http://h"), &[Elsewhere], Either, NOTHING),
        ("a whole URL of the mount alone", to("http://h/some_prefix"), &[Told(400)], Open, NOTHING),
        ("a whole URL with userinfo that has an @", to("http://a@b@h/some_prefix/ACC/DOC/a.mp3"), &[Done(201)], Open, ID3),
        ("two slashes before the mount", to("//some_prefix/ACC/DOC/a.mp3"), &[Elsewhere], Either, NOTHING),
        ("dots before the mount", to("/x/../some_prefix/ACC/DOC/a.mp3"), &[Elsewhere], Either, NOTHING),
        ("a host and a port", to("h:80"), &[Elsewhere], Either, NOTHING),
        ("CONNECT", from("CONNECT h:80 HTTP/1.1", &[], ""), &[Elsewhere], Either, NOTHING),
        ("CONNECT, and another request", hiding(from("CONNECT h:80 HTTP/1.1", &[], "")), &[Elsewhere, Done(201)], Open, &[("hidden.mp3", "BAD")]),
        ("CONNECT to a file", from("CONNECT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Told(405)], Open, NOTHING),
        ("an asterisk", to("*"), &[Elsewhere], Either, NOTHING),
        ("OPTIONS of an asterisk", from("OPTIONS * HTTP/1.1", &[], ""), &[Elsewhere], Open, NOTHING),
        ("no target", hiding(from("PUT  HTTP/1.1", &["content-length: 3"], "ID3")), REFUSED, Closed, NOTHING),
        ("a target without a slash", hiding(to("some_prefix/ACC/DOC/a.mp3")), REFUSED, Closed, NOTHING),
        ("bytes over 0x7f, as KAZOO sends them", to("/some_prefix/ACC/DOC/grüße €.mp3".replace(' ', "\u{a0}").as_str()), &[Done(201)], Open, &[("grüße\u{a0}€.mp3", "ID3")]),
        ("bytes that are no UTF-8", hiding([&b"PUT /some_prefix/ACC/DOC/\xff.mp3 HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"[..]].concat()), REFUSED, Closed, NOTHING),
        ("a space in the target", hiding(to("/some_prefix/ACC/DOC/a b.mp3")), REFUSED, Closed, NOTHING),
        ("a tab in the target", hiding(to("/some_prefix/ACC/DOC/a\tb.mp3")), REFUSED, Closed, NOTHING),
        ("a NUL in the target", hiding(to("/some_prefix/ACC/DOC/a\0b.mp3")), REFUSED, Closed, NOTHING),
        ("a CR in the target", hiding(to("/some_prefix/ACC/DOC/a\rb.mp3")), REFUSED, Closed, NOTHING),
        ("an encoded fragment", to("/some_prefix/ACC/DOC/a%23b.mp3"), &[Done(201)], Open, &[("a#b.mp3", "ID3")]),
        ("a slash behind the document", to("/some_prefix/ACC/DOC/"), &[Told(400)], Open, NOTHING),
        ("a slash behind the account", to("/some_prefix/ACC/"), &[Told(400)], Open, NOTHING),
        ("several slashes at the end", to("/some_prefix/ACC/DOC/a.mp3//?x"), &[Told(400)], Open, NOTHING),
        ("what a URL may not have", to("/some_prefix/ACC/DOC/a|b.mp3"), &[Done(201)], Open, &[("a|b.mp3", "ID3")]),
    ])
}

#[rustfmt::skip]
fn several() -> Vec<Case> {
    let get = from("GET /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &[], "");
    let a = put(&["content-length: 3"], "ID3");
    let b = to("/some_prefix/ACC/DOC/b.mp3");
    let with_body = |line: &str| from(line, &[&format!("content-length: {}", HIDDEN.len())], HIDDEN);
    cases(vec![
        ("an upload and a fetch of it", [&a[..], &get].concat(), &[Done(201), Done(200)], Open, ID3),
        ("two uploads", [&a[..], &b].concat(), &[Done(201), Done(201)], Open, &[("a.mp3", "ID3"), ("b.mp3", "ID3")]),
        ("two uploads in chunks", [&chunks("5\r\nhello\r\n0\r\n\r\n")[..], &b].concat(), &[Done(201), Done(201)], Open, &[("a.mp3", "hello"), ("b.mp3", "ID3")]),
        ("two uploads with empty lines between", [&a[..], b"\r\n\r\n", &b].concat(), &[Done(201), Done(201)], Open, &[("a.mp3", "ID3"), ("b.mp3", "ID3")]),
        ("two uploads, the first of which is refused", [&to("/some_prefix/ACC/DOC/..")[..], &b].concat(), &[Told(400), Done(201)], Open, &[("b.mp3", "ID3")]),
        ("an upload, and what is no request", [&a[..], b"\x01\x02\r\n\r\n", HIDDEN.as_bytes()].concat(), &[Done(201), Bare(400)], Closed, ID3),
        ("an upload, and the beginning of another", [&a[..], &b[..20]].concat(), &[Done(201)], Ended, ID3),
        ("an upload that is a request", with_body("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1"), &[Done(201)], Open, &[("a.mp3", HIDDEN)]),
        ("a refused upload that is a request", with_body("PUT /some_prefix/ACC/DOC/.. HTTP/1.1"), &[Told(400)], Open, NOTHING),
        ("a fetch whose body is a request", with_body("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.1"), &[Done(200)], Open, NOTHING),
        ("a fetch of nothing whose body is a request", with_body("GET /some_prefix/ACC/DOC/none.mp3 HTTP/1.1"), &[Told(404)], Open, NOTHING),
        ("another method whose body is a request", with_body("DELETE /some_prefix/ACC/OLD/old.mp3 HTTP/1.1"), &[Told(405)], Open, NOTHING),
        ("another path whose body is a request", with_body("PUT /elsewhere HTTP/1.1"), &[Elsewhere], Either, NOTHING),
        ("a body that is longer than its length", hiding(put(&["content-length: 3"], "ID3ID3")), &[Done(201), Told(405)], Open, ID3),
        ("a body that is shorter than its length", put(&["content-length: 9"], "ID3"), &[Told(400)], Ended, NOTHING),
        ("a body that never comes", put(&["content-length: 9"], ""), &[Told(400)], Ended, NOTHING),
        ("a body that is over every limit", put(&["content-length: 9000000000000000000"], "ID3"), &[Told(413)], Ended, NOTHING),
        ("a chunked body without its end", chunks("5\r\nhello\r\n"), &[Told(400)], Ended, NOTHING),
        ("a chunked body without its last line", chunks("5\r\nhello\r\n0\r\n"), &[Told(400)], Ended, NOTHING),
        ("a head without its end", raw("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\nhost: h\r\n"), &[], Ended, NOTHING),
        ("nothing", raw(""), &[], Ended, NOTHING),
        ("empty lines", raw("\r\n\r\n"), &[], Ended, NOTHING),
        // `Expect: 100-continue`.
        ("a body that is awaited", put(&["expect: 100-continue", "content-length: 3"], "ID3"), &[Go(100), Done(201)], Open, ID3),
        ("a body that is awaited, in capitals", put(&["Expect: 100-Continue", "content-length: 3"], "ID3"), &[Go(100), Done(201)], Open, ID3),
        ("chunks that are awaited", put(&["expect: 100-continue", "transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"), &[Go(100), Done(201)], Open, HELLO),
        ("no body that is awaited", put(&["expect: 100-continue", "content-length: 0"], ""), &[Done(201)], Open, &[("a.mp3", "")]),
        ("a body that is awaited and refused", from("PUT /some_prefix/ACC/DOC/.. HTTP/1.1", &["expect: 100-continue", &format!("content-length: {}", HIDDEN.len())], HIDDEN), &[Told(400)], Closed, NOTHING),
        ("a body that is awaited and too long", hiding(put(&["expect: 100-continue", "content-length: 9000000000000000000"], "")), &[Told(413)], Closed, NOTHING),
        ("another expectation", put(&["expect: 200-ok", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("a list of expectations", put(&["expect: 100-continue, 200-ok", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("two expectations of a refused body", hiding(from("PUT /some_prefix/ACC/DOC/ HTTP/1.1", &["expect: 200-ok", "expect: 100-continue", "content-length: 3"], "")), &[Told(400)], Closed, NOTHING),
        ("two expectations", put(&["expect: 200-ok", "expect: 100-continue", "content-length: 3"], "ID3"), &[Go(100), Done(201)], Open, ID3),
        ("two expectations, the other first", put(&["expect: 100-continue", "expect: 200-ok", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        // HTTP/1.0
        ("an upload by HTTP/1.0", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["content-length: 3"], "ID3")), &[Done(201)], Closed, ID3),
        ("one that keeps the connection", from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["connection: keep-alive", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("one without its length", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &[], "")), &[Told(400)], Closed, NOTHING),
        ("one without its length that keeps the connection", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["connection: keep-alive"], "")), &[Told(400)], Closed, NOTHING),
        ("one in chunks", hiding(from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["transfer-encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n")), REFUSED, Closed, NOTHING),
        ("one that expects", from("PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.0", &["expect: 100-continue", "content-length: 3"], "ID3"), &[Done(201)], Closed, ID3),
        ("a fetch by HTTP/1.0", hiding(from("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.0", &[], "")), &[Done(200)], Closed, NOTHING),
        ("a fetch that keeps the connection", from("GET /some_prefix/ACC/OLD/old.mp3 HTTP/1.0", &["connection: keep-alive"], ""), &[Done(200)], Open, NOTHING),
    ])
}

/// Requests that hyper does not pass on. Only the program sees them.
#[cfg(unix)]
#[rustfmt::skip]
fn heads_in_the_program() -> Vec<Case> {
    let no_host = "PUT /some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\ncontent-length: 3\r\n\r\nID3";
    let a = put(&["content-length: 3"], "ID3");
    let fragment = to("/some_prefix/ACC/DOC/b.mp3#c");
    cases(vec![
        ("no host", hiding(no_host), &[Told(400)], Closed, NOTHING),
        ("a whole URL, and no host", hiding("PUT http://h/some_prefix/ACC/DOC/a.mp3 HTTP/1.1\r\ncontent-length: 0\r\n\r\n"), &[Told(400)], Closed, NOTHING),
        ("a fragment", hiding(to("/some_prefix/ACC/DOC/a.mp3#b/c")), &[Told(400)], Closed, NOTHING),
        ("an empty fragment", hiding(to("/some_prefix/ACC/DOC/a.mp3#")), &[Told(400)], Closed, NOTHING),
        ("a fragment behind a query", hiding(to("/some_prefix/ACC/DOC/a.mp3?x=y#z")), &[Told(400)], Closed, NOTHING),
        ("a fragment of a whole URL", hiding(to("http://h/some_prefix/ACC/DOC/a.mp3#b")), &[Told(400)], Closed, NOTHING),
        ("a fragment of a fetch", hiding(from("GET /some_prefix/ACC/OLD/old.mp3#1 HTTP/1.1", &[], "")), &[Told(400)], Closed, NOTHING),
        ("a fragment elsewhere", hiding(to("/elsewhere#1")), &[Told(400)], Closed, NOTHING),
        ("a fragment behind an upload", hiding([&a[..], &fragment].concat()), &[Done(201), Told(400)], Closed, ID3),
        ("a fragment behind chunks", hiding([&chunks("5;#\r\nhello\r\n0\r\n\r\n")[..], &fragment].concat()), &[Done(201), Told(400)], Closed, HELLO),
        ("a fragment in a body", put(&["content-length: 28"], "PUT /a#b HTTP/1.1\r\nhost: h\r\n"), &[Done(201)], Open, &[("a.mp3", "PUT /a#b HTTP/1.1\r\nhost: h\r\n")]),
        ("a fragment in a header", put(&["x: /a#b", "content-length: 3"], "ID3"), &[Done(201)], Open, ID3),
        ("a method with a number sign", from("P#T /some_prefix/ACC/DOC/a.mp3 HTTP/1.1", &["content-length: 3"], "ID3"), &[Told(405)], Open, NOTHING),
    ])
}

fn table() -> Vec<Case> {
    [lengths(), encodings(), chunked_bodies(), heads(), targets(), several()]
        .into_iter()
        .flatten()
        .collect()
}

/// Describes how the server deviated from `case`. Empty if it did not.
async fn departure(case: &Case, pace: Pace, address: SocketAddr) -> String {
    let mut connection = Connection::open(address).await;
    // A server that refuses a request does not have to read the rest.
    let _ = connection.try_send(&case.bytes, pace).await;
    if case.then == Ended {
        connection.finish().await;
    }
    let mut said = Vec::new();
    while said.len() < case.says.len() {
        let Ok(answer) = connection.try_receive(false).await else {
            break;
        };
        said.extend(answer.interim.iter().map(|status| Go(*status)));
        said.push(match answer.status {
            200..300 => Done(answer.status),
            404 if case.says.get(said.len()) == Some(&Elsewhere) => Elsewhere,
            status if answer.header("content-type") == Some("application/json") => {
                answer.refusal(status);
                Told(status)
            }
            status => Bare(status),
        });
    }
    if said != case.says {
        return format!("said {said:?} and not {:?}", case.says);
    }
    if matches!(case.then, Closed | Ended) {
        return if connection.is_closed().await {
            String::new()
        } else {
            "is not closed".to_owned()
        };
    }
    let fetch = kazoo_fetch(OLD.0.as_bytes());
    let _ = connection.try_send(&fetch, Pace::Whole).await;
    match connection.try_receive(false).await {
        Ok(answer) if answer.status == 200 && answer.body == OLD.1.as_bytes() => String::new(),
        Err(_) if case.then == Either => String::new(),
        answer => format!("does not go on: {answer:?}"),
    }
}

/// The paces for a request of this length.
fn paces(len: usize) -> &'static [Pace] {
    match len {
        0..1000 => &[Pace::Whole, Pace::Pieces(7), Pace::Pieces(1)],
        1000..10_000 => &[Pace::Whole, Pace::Pieces(7)],
        _ => &[Pace::Whole, Pace::Pieces(4096)],
    }
}

async fn every_case(front: Front) {
    let mut wrong = Vec::new();
    for case in table() {
        for pace in paces(case.bytes.len()) {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            let old = Connection::open(server.address)
                .await
                .exchange(&request("PUT", OLD.0, &[], OLD.1), Pace::Whole)
                .await;
            assert_eq!(old.status, 201);
            let mut departure = departure(&case, *pace, server.address).await;
            let mut expected = vec![key("OLD", "old.mp3")];
            for (name, content) in case.stored {
                expected.push(key("DOC", name));
                if store.content_of(&key("DOC", name)).await.as_deref() != Some(content.as_bytes()) {
                    departure.push_str("; the content is another");
                }
            }
            if store.stored() != expected {
                departure = format!("{departure}; stored {:?}", store.stored());
            }
            if !departure.is_empty() {
                wrong.push(format!("{}, {pace:?}: {departure}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn key(document: &str, name: &str) -> BlobKey {
    BlobKey::from_segments(["ACC", document, name]).unwrap()
}

#[tokio::test]
async fn answers_every_case_on_hyper() {
    every_case(Front::Hyper).await;
}

#[tokio::test]
async fn answers_every_case_in_axum() {
    every_case(Front::Axum).await;
}

/// A client that disconnects at any byte stores nothing more. Its completed requests are unaffected.
#[tokio::test]
async fn stores_nothing_of_a_request_that_ends_early() {
    let before = put(&["content-length: 3"], "ID3");
    for front in [Front::Hyper, Front::Axum] {
        for whole in [
            to("/some_prefix/ACC/DOC/b.mp3"),
            from(
                "PUT /some_prefix/ACC/DOC/b.mp3 HTTP/1.1",
                &["expect: 100-continue", "transfer-encoding: chunked"],
                "2;a=b\r\nID\r\n1\r\n3\r\n0\r\nx: y\r\n\r\n",
            ),
        ] {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            for cut in 0..whole.len() {
                let mut connection = Connection::open(server.address).await;
                connection
                    .send(&[&before[..], &whole[..cut]].concat(), Pace::Whole)
                    .await;
                connection.finish().await;
                assert_eq!(connection.receive().await.status, 201);
                if let Ok(answer) = connection.try_receive(false).await {
                    answer.refusal(400);
                }
                assert!(connection.is_closed().await, "{front:?}, {cut}");
                assert_eq!(store.stored(), vec![key("DOC", "a.mp3"); cut + 1], "{front:?}, {cut}");
            }
        }
    }
}

/// The answer depends on the features of the server's crates. The bytes that follow are never a request.
#[tokio::test]
async fn refuses_the_preface_of_http_2() {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for front in [Front::Hyper, Front::Axum] {
        for pace in [Pace::Whole, Pace::Pieces(1)] {
            let store = Spy::memory();
            let server = Server::start(front, MOUNT, KazooStorage::new(store.clone())).await;
            let mut connection = Connection::open(server.address).await;
            let _ = connection.try_send(&hiding(preface), pace).await;
            connection.finish().await;
            connection.drain().await;
            assert_eq!(store.stored(), []);
        }
    }
}

/// The program parses heads itself and has limits.
#[cfg(unix)]
mod program {
    use std::{
        fs,
        io::{BufRead as _, BufReader},
        path::Path,
        process::{Child, Command, Stdio},
    };

    use super::*;

    /// A running server, killed when it is dropped.
    struct Program {
        child: Child,
        address: SocketAddr,
    }

    impl Program {
        fn start(root: &Path) -> Self {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kazoo-storage"));
            for (name, _) in std::env::vars_os() {
                if name == "RUST_LOG" || name.to_string_lossy().starts_with("KAZOO_STORAGE_") {
                    command.env_remove(name);
                }
            }
            command
                .args([
                    "serve",
                    "--listen",
                    "127.0.0.1:0",
                    "--no-fsync",
                    "--mount",
                    MOUNT,
                    "--store",
                ])
                .arg(root);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut line)
                .unwrap();
            let address = line
                .trim_end()
                .strip_prefix("listening on http://")
                .expect(&line)
                .parse()
                .unwrap();
            Self { child, address }
        }
    }

    impl Drop for Program {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    /// Every stored file by its path below the root, with its content.
    fn files(root: &Path) -> Vec<(String, String)> {
        let mut files = Vec::new();
        for account in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
            if account.ends_with(".stage") {
                continue;
            }
            for document in fs::read_dir(account).unwrap().map(|entry| entry.unwrap().path()) {
                for file in fs::read_dir(document).unwrap().map(|entry| entry.unwrap().path()) {
                    let name = file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                    if !name.contains("/.") {
                        files.push((name, fs::read_to_string(&file).unwrap()));
                    }
                }
            }
        }
        files.sort();
        files
    }

    #[tokio::test]
    async fn answers_every_case_in_the_program() {
        let root = tempfile::tempdir().unwrap();
        let program = Program::start(root.path());
        let old = request("PUT", OLD.0, &[], OLD.1);
        let old = Connection::open(program.address)
            .await
            .exchange(&old, Pace::Whole)
            .await;
        assert_eq!(old.status, 201);
        let mut wrong = Vec::new();
        let of_heads = heads_in_the_program().into_iter();
        let in_pieces = of_heads.map(|case| (Pace::Pieces(1), case));
        // The program tracks the requests of a connection itself.
        let followed = chunked_bodies().into_iter().chain(several());
        let followed = followed.filter(|case| case.bytes.len() < 1000);
        let in_pieces = in_pieces.chain(followed.map(|case| (Pace::Pieces(7), case)));
        let whole = table().into_iter().chain(heads_in_the_program());
        for (pace, case) in whole.map(|case| (Pace::Whole, case)).chain(in_pieces) {
            let mut departure = departure(&case, pace, program.address).await;
            let mut expected = vec![("ACC/OLD/old.mp3".to_owned(), OLD.1.to_owned())];
            for (name, content) in case.stored {
                expected.push((format!("ACC/DOC/{name}"), (*content).to_owned()));
            }
            expected.sort();
            let files = files(root.path());
            if files != expected {
                departure = format!("{departure}; stored {files:?}");
            }
            if !departure.is_empty() {
                wrong.push(format!("{}, {pace:?}: {departure}", case.what));
            }
            // The next case starts with only the older file.
            let _ = fs::remove_dir_all(root.path().join("ACC/DOC"));
        }
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    }
}
